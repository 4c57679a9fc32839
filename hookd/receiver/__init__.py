"""The receiver: verifies signed push events, records them, and answers status requests."""
