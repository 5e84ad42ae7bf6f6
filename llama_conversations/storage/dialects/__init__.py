"""Databases, one module each; which one is used is chosen once, when storage is opened."""
