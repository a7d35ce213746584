"""The shop's answers."""
