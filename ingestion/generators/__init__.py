"""Deterministic data of each domain, and the answers that are expected of it."""
