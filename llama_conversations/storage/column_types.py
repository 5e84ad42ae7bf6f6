"""Types of columns that the tables and their migrations share."""

from __future__ import annotations

from sqlalchemy import Text

Name = Text().with_variant(Text(collation="C"), "postgresql")
"""Ids, owners and other short texts that are compared and ordered: by their bytes, as SQLite does.

A database's own collation may order ``_`` and digits otherwise, so that a partition were no range of ids; it compares
slower, and its indexes break when the operating system's rules change (postgresql.org/docs/current/collation.html).
"""
