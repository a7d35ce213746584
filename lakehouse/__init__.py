"""The `lakehouse` command: the local engine, rounds of ingest and build, and questions to both."""
