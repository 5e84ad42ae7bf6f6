"""Storage: what is kept, how it is asked for, and the databases that keep it."""
