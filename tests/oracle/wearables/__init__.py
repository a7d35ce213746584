"""The wearables' answers."""
