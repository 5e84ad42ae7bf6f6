"""The schema's revisions, applied by alembic when storage is opened."""

from __future__ import annotations

HEAD_REVISION = "0006"
"""The newest revision; known here so that a database that is up to date needs no alembic at start."""
