"""Sources in, bronze out: the declaration, the gate, the feeds and the loads.

    inbox/ --gate--> landing/ --Structured Streaming--> bronze.<source>_<table>
              └----> quarantine/                        audit.loads, audit.files

The contract with dbt is the bronze tables and `audit.loads`; nothing here imports dbt.
"""
