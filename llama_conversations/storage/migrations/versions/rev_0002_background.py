"""Background responses: the request of a queued one, and the events of those that are streamed."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, Integer, PrimaryKeyConstraint, Text, text

from llama_conversations.storage.column_types import Name

revision = "0002"
down_revision = "0001"

_QUEUED = text("status = 'queued'")


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("responses", Column("request", Text))
    op.add_column("responses", Column("streamed", Integer, nullable=False, server_default=text("0")))
    op.create_index(
        "responses_queued", "responses", ["created_at", "id"], sqlite_where=_QUEUED, postgresql_where=_QUEUED
    )
    op.create_table(
        "response_events",
        Column("response_id", Name, ForeignKey("responses.id", ondelete="CASCADE"), nullable=False),
        Column("sequence_number", BigInteger, nullable=False),
        Column("frame", Text, nullable=False),
        PrimaryKeyConstraint("response_id", "sequence_number"),
        sqlite_with_rowid=False,
    )
