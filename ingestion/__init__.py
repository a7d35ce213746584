"""Sources in, bronze out: the declaration, the gate, the feeds, the loads and the generators.

    inbox/ --gate--> landing/ --Structured Streaming--> bronze.<source>_<table>
              └----> quarantine/                        audit.loads, audit.files

The contract with dbt is the bronze tables and `audit.loads`; nothing here imports dbt.
"""
