"""The tables, stated once for every dialect. JSON is kept as text: the very bytes that are served.

Times are microseconds since 1970, leases milliseconds (of the database's clock). What only PostgreSQL has, and that its
indexes are partial as those of SQLite are, is in ``dialects/postgresql_options.py``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from llama_conversations.storage.column_types import Name

metadata = MetaData()

conversations = Table(
    "conversations",
    metadata,
    Column("id", Name, primary_key=True),
    Column("tenant", Name, nullable=False),
    Column("owner", Name, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("next_position", BigInteger, nullable=False),
    Column("lease_holder", Name),
    Column("lease_node", Name),
    Column("lease_expires_at", BigInteger),
    Column("edition", BigInteger, nullable=False, server_default=text("0")),
    Index("conversations_by_owner", "tenant", "owner", "created_at", "id"),
    Index("conversations_leased", "lease_node", sqlite_where=text("lease_node IS NOT NULL")),
    sqlite_with_rowid=False,
)
"""``edition`` grows when an item goes or changes: while it stays, what was read below a position is still so."""

conversation_items = Table(
    "conversation_items",
    metadata,
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

responses = Table(
    "responses",
    metadata,
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
    Column("request", Text),
    Column("streamed", Integer, nullable=False, server_default=text("0")),
    Column("first_event", BigInteger, nullable=False, server_default=text("2")),
    CheckConstraint(
        "status IN ('queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled')",
        name="responses_status",
    ),
    Index("responses_by_owner", "tenant", "owner", "created_at", "id"),
    Index("responses_leased", "lease_node", sqlite_where=text("lease_node IS NOT NULL")),
    Index("responses_queued", "created_at", "id", sqlite_where=text("status = 'queued'")),
)

response_events = Table(
    "response_events",
    metadata,
    Column("response_id", Name, ForeignKey("responses.id", ondelete="CASCADE"), nullable=False),
    Column("sequence_number", BigInteger, nullable=False),
    Column("frame", Text, nullable=False),
    PrimaryKeyConstraint("response_id", "sequence_number"),
    sqlite_with_rowid=False,
)

prompts = Table(
    "prompts",
    metadata,
    Column("id", Name, primary_key=True),
    Column("tenant", Name, nullable=False),
    Column("owner", Name, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("default_version", Integer, nullable=False),
    Index("prompts_by_owner", "tenant", "owner", "created_at", "id"),
)

prompt_versions = Table(
    "prompt_versions",
    metadata,
    Column("prompt_id", Name, ForeignKey("prompts.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("variables", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("prompt_id", "version"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
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
    Column("conversation_id", Name),
    PrimaryKeyConstraint("tenant", "owner", "key"),
    Index("idempotency_keys_by_age", "created_at"),
    Index("idempotency_keys_leased", "lease_node", sqlite_where=text("lease_node IS NOT NULL")),
    Index("idempotency_keys_by_conversation", "conversation_id", sqlite_where=text("conversation_id IS NOT NULL")),
)
"""A request runs while its key has a lease. ``status`` is set by the transaction that has the request's effect, with
the JSON that came of it as ``body`` until the answer itself is kept; ``response_id`` is set when a turn begins, and
``conversation_id`` where the answer tells what is in a conversation."""

resources = Table(
    "resources",
    metadata,
    Column("kind", Name, nullable=False),
    Column("provider_id", Name, nullable=False),
    Column("identifier", Name, nullable=False),
    Column("data", Text, nullable=False),
    PrimaryKeyConstraint("kind", "provider_id", "identifier"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Name, primary_key=True),
    Column("holder", Name),
    Column("expires_at", BigInteger, nullable=False, server_default=text("0")),
)
"""What one process at a time does for all, a row for each; and a row ``probe``, written to see whether that works."""
