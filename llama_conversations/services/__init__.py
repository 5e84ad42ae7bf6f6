"""Services: the implementations of the APIs that this server brings along."""
