"""Made-up data of each domain, a folder a domain: the same seed, the same bytes.

    story.py (events in event time --> files) --> inbox/<source>.<table>/

What must come of the data stands elsewhere, in `tests/oracle`: nothing here knows of it.
"""
