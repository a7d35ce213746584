"""The network's answers."""
