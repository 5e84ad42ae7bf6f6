"""Editions of conversations, by which a history that was read once is known to be still true."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, text

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column."""
    op.add_column("conversations", Column("edition", BigInteger, nullable=False, server_default=text("0")))
