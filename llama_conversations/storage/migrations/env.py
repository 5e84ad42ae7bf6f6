"""Alembic's entry: runs the revisions on the connection that ``upgrade`` passes in."""

from __future__ import annotations

from alembic import context

from llama_conversations.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
