"""Keys of requests that have one effect, and what they were answered."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, Text, text

from llama_conversations.storage.column_types import Name

revision = "0003"
down_revision = "0002"

_LEASED = text("lease_node IS NOT NULL")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "idempotency_keys",
        Column("tenant", Name, nullable=False),
        Column("owner", Name, nullable=False),
        Column("key", Name, nullable=False),
        Column("fingerprint", Text, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("lease_holder", Name),
        Column("lease_node", Name),
        Column("lease_expires_at", BigInteger),
        Column("response_id", Name),
        Column("status", Integer),
        Column("headers", Text),
        Column("body", Text),
        Column("streamed", Integer, nullable=False, server_default=text("0")),
        PrimaryKeyConstraint("tenant", "owner", "key"),
    )
    op.create_index("idempotency_keys_by_age", "idempotency_keys", ["created_at"])
    op.create_index(
        "idempotency_keys_leased",
        "idempotency_keys",
        ["lease_node"],
        sqlite_where=_LEASED,
        postgresql_where=_LEASED,
    )
