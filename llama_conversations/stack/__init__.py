"""The stack: providers found, resolved, opened in order and closed in reverse."""
