"""Where the events of a background response's present run begin."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, text

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("responses", Column("first_event", BigInteger, nullable=False, server_default=text("2")))
