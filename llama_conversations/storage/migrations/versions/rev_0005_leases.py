"""What one process at a time does for all, by name."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, text

from llama_conversations.storage.column_types import Name

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table, with a row for each name: taking a lease is an update, whatever the database."""
    leases = op.create_table(
        "leases",
        Column("name", Name, primary_key=True),
        Column("holder", Name),
        Column("expires_at", BigInteger, nullable=False, server_default=text("0")),
    )
    op.bulk_insert(leases, [{"name": "retention"}, {"name": "probe"}])
    op.add_column("idempotency_keys", Column("conversation_id", Name))
    kept = text("conversation_id IS NOT NULL")
    op.create_index(
        "idempotency_keys_by_conversation",
        "idempotency_keys",
        ["conversation_id"],
        sqlite_where=kept,
        postgresql_where=kept,
    )
