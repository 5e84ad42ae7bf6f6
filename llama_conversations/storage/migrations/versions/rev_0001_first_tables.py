"""First tables: conversations, items, responses, prompts, resources."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    text,
)

from llama_conversations.storage.column_types import Name

revision = "0001"
down_revision = None

_LEASED = text("lease_node IS NOT NULL")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "conversations",
        Column("id", Name, primary_key=True),
        Column("tenant", Name, nullable=False),
        Column("owner", Name, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("metadata", Text, nullable=False),
        Column("next_position", BigInteger, nullable=False),
        Column("lease_holder", Name),
        Column("lease_node", Name),
        Column("lease_expires_at", BigInteger),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 80},
    )
    op.create_table(
        "conversation_items",
        Column("conversation_id", Name, ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("id", Name, nullable=False),
        Column("type", Name, nullable=False),
        Column("data", Text, nullable=False),
        Column("masked", Text),
        Column("created_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("conversation_id", "position"),
        UniqueConstraint("conversation_id", "id", name="conversation_items_by_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "responses",
        Column("id", Name, primary_key=True),
        Column("tenant", Name, nullable=False),
        Column("owner", Name, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("status", Name, nullable=False),
        Column("model", Name, nullable=False),
        Column("conversation_id", Name),
        Column("previous_response_id", Name),
        Column("context_position", BigInteger),
        Column("input", Text, nullable=False),
        Column("head", Text, nullable=False),
        Column("output", Text, nullable=False),
        Column("background", Integer, nullable=False, server_default=text("0")),
        Column("cancel_requested", Integer, nullable=False, server_default=text("0")),
        Column("lease_node", Name),
        Column("lease_expires_at", BigInteger),
        CheckConstraint(
            "status IN ('queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled')",
            name="responses_status",
        ),
    )
    op.create_table(
        "prompts",
        Column("id", Name, primary_key=True),
        Column("tenant", Name, nullable=False),
        Column("owner", Name, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("default_version", Integer, nullable=False),
    )
    op.create_table(
        "prompt_versions",
        Column("prompt_id", Name, ForeignKey("prompts.id", ondelete="CASCADE"), nullable=False),
        Column("version", Integer, nullable=False),
        Column("text", Text, nullable=False),
        Column("variables", Text, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("prompt_id", "version"),
    )
    op.create_table(
        "resources",
        Column("kind", Name, nullable=False),
        Column("provider_id", Name, nullable=False),
        Column("identifier", Name, nullable=False),
        Column("data", Text, nullable=False),
        PrimaryKeyConstraint("kind", "provider_id", "identifier"),
    )
    for table in ("conversations", "responses", "prompts"):
        op.create_index(f"{table}_by_owner", table, ["tenant", "owner", "created_at", "id"])
    for table in ("conversations", "responses"):
        op.create_index(f"{table}_leased", table, ["lease_node"], sqlite_where=_LEASED, postgresql_where=_LEASED)
