"""Very many conversations at once: copies, in SQL, of one that a server made.

Everything that belongs to a conversation shares the partition token in its ids (``llama_conversations.ids``). So what
is stored of it with another token is another conversation, whole, with ids that a server could have given.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from sqlalchemy import Column, Table

from llama_conversations.ids import CONVERSATION_PREFIX, PARTITION_DIGITS, partition_of
from llama_conversations.storage.tables import conversation_items, conversations, responses

TOKENS = "CREATE TEMPORARY TABLE tokens (token TEXT PRIMARY KEY, number BIGINT)"
INSERT_TOKEN = "INSERT INTO tokens VALUES ($1, $2)"  # noqa: S105  (no password)

SAMPLE = 10_000

_MINE = {conversations: "id", conversation_items: "conversation_id", responses: "conversation_id"}
"""The tables that are copied, and their columns that have the conversation's id."""


def tokens(conversation_id: str, count: int) -> Sequence[tuple[str, int]]:
    """Partition tokens that differ, in their order, each with a number: their ages are in another order."""
    drawn = random.sample(range(16**PARTITION_DIGITS), count + 1)  # one more, should the conversation's be among them
    texts = (f"{token:0{PARTITION_DIGITS}x}" for token in drawn)
    others = (token for token in texts if token != partition_of(conversation_id))
    return sorted(zip(others, range(1, count + 1), strict=False))


def sample(conversation_id: str, made: Sequence[tuple[str, int]]) -> Sequence[str]:
    """Ids of copies, of any."""
    old = f"{CONVERSATION_PREFIX}_{partition_of(conversation_id)}"
    drawn = random.sample(made, min(SAMPLE, len(made)))
    return [conversation_id.replace(old, f"{CONVERSATION_PREFIX}_{token}") for token, _ in drawn]


def copying(conversation_id: str) -> Iterator[str]:
    """Statements, once ``tokens`` is filled: each table's rows are set apart, then copied under every token."""
    old = partition_of(conversation_id)
    for table, mine in _MINE.items():
        apart = f"copied_{table.name}"
        yield (
            f"CREATE TEMPORARY TABLE {apart} AS SELECT * FROM {table.name} WHERE {mine} = '{conversation_id}'"  # noqa: S608
        )
        yield _copy(table, apart, old)


def _copy(table: Table, apart: str, old: str) -> str:
    names = ", ".join(column.name for column in table.columns)
    values = ", ".join(_copied(column, old) for column in table.columns)
    # CROSS JOIN: SQLite takes the tables in this order, so rows come in the order of the tables' keys.
    return f"INSERT INTO {table.name} ({names}) SELECT {values} FROM tokens CROSS JOIN {apart} AS a"  # noqa: S608


def _copied(column: Column[object], old: str) -> str:
    if column.name == "created_at":
        return "a.created_at - number"
    if column.type.python_type is str:
        return f"replace(a.{column.name}, '{old}', token)"
    return f"a.{column.name}"
