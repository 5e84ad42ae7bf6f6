"""Real processes for tests: the server as its users start it."""
