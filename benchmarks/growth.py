"""Whether an operation costs more the more conversations there are."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import cases
from benchmarks.client import connected
from benchmarks.load import Row
from benchmarks.processes import Served, stack_server

SIZES = (10, 10_000, 1_000_000)

_CONVERSATION = (
    "INSERT INTO conversations (id, tenant, owner, created_at, metadata, next_position)"
    " VALUES (?, 'default', 'default', ?, '{}', 1)"
)
_ITEM = (
    "INSERT INTO conversation_items (conversation_id, position, id, type, data, created_at)"
    " VALUES (?, 0, ?, 'message', ?, 0)"
)
_DATA = (
    '{"id":"%s","type":"message","status":"completed","role":"user",'
    '"content":[{"type":"input_text","text":"One of very many."}]}'
)


async def growth(model: Served, *, quick: bool) -> AsyncIterator[Row]:
    """Creating, reading and a turn, on databases that hold few, many and very many conversations."""
    for size in SIZES[:2] if quick else SIZES:
        with TemporaryDirectory(prefix="bench-growth-") as name:
            directory = Path(name)
            with stack_server(directory, model.url):
                pass  # it makes the tables
            _fill(directory / "state.db", size)
            with stack_server(directory, model.url) as server:
                async with connected(f"{server.url}/v1") as client, connected(model.url) as alone:
                    bench = cases.Bench(client, alone, server, None, quick)
                    for case in (cases.create, cases.point, cases.turn):
                        async for row in case(bench):
                            if row.clients == 1 and "5,000" not in row.what:
                                yield replace(row, case="growth", what=f"{row.what}, of {size:,} conversations")


def _fill(path: Path, count: int) -> None:
    """Put conversations of one item each into a database that nobody has open."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA cache_size=-262144")
        ids = sorted(f"conv_{secrets.token_hex(24)}" for _ in range(count))
        database.executemany(_CONVERSATION, ((conversation_id, n) for n, conversation_id in enumerate(ids)))
        database.executemany(_ITEM, _items(ids))
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _items(conversation_ids: list[str]) -> Iterator[tuple[str, str, str]]:
    for conversation_id in conversation_ids:
        item_id = f"msg_{conversation_id[5:13]}{secrets.token_hex(20)}"
        yield conversation_id, item_id, _DATA % item_id
