"""The ways in: a module each, with one class `Feed` that keeps to `ingestion.feed.Feed`."""
