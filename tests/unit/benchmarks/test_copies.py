"""Copies of a conversation are conversations of their own, whole, with ids that a server could have given."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.sqlite import SqliteFiles
from llama_conversations.ids import new_id, partition_in, partition_of

CONVERSATION = "INSERT INTO conversations (id, tenant, owner, created_at, metadata, next_position) VALUES (?,?,?,?,?,?)"
ITEM = "INSERT INTO conversation_items (conversation_id, position, id, type, data, created_at) VALUES (?,?,?,?,?,?)"


async def test_each_copy_has_the_rows_of_the_first_under_its_own_token(tmp_path: Path) -> None:
    first = new_id("conv")
    items = [new_id("msg", partition_of(first)) for _ in range(2)]
    async with SqliteFiles(tmp_path).new() as file:
        with closing(sqlite3.connect(file.backend["path"])) as connection:
            connection.execute(CONVERSATION, (first, "default", "default", 1000, "{}", 2))
            rows = [(first, n, item, "message", f'{{"id":"{item}"}}', 1000) for n, item in enumerate(items)]
            connection.executemany(ITEM, rows)
            connection.commit()
        some = await file.fill(first, 50)
        with closing(sqlite3.connect(file.backend["path"])) as connection:
            found = connection.execute("SELECT id, created_at, next_position FROM conversations").fetchall()
            stored = connection.execute("SELECT conversation_id, id, data FROM conversation_items").fetchall()
    assert len(some) == 50
    assert {first, *some} == {row[0] for row in found}
    assert {age for _, age, _ in found} == set(range(950, 1001))
    assert len(stored) == 102
    for conversation_id, item_id, data in stored:
        assert partition_in(item_id) == partition_in(conversation_id)
        assert data == f'{{"id":"{item_id}"}}'
