"""What the tables are on PostgreSQL beside what they are everywhere.

Not stated with the tables: SQLAlchemy imports the dialect that an option names, and a server on SQLite does without.
"""

from __future__ import annotations

from llama_conversations.storage.tables import conversations, metadata

ROOM_FOR_UPDATES = {"fillfactor": 80}
"""An append changes no indexed column of its conversation: with room on the page no index is touched either."""


def take_options() -> None:
    """Give the tables their options, before the schema is made of them."""
    conversations.dialect_options["postgresql"]["with"] = ROOM_FOR_UPDATES
    for table in metadata.tables.values():
        for index in table.indexes:  # those that are partial are so on either
            index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]
