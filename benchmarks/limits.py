"""What this machine allows at best, with nothing of ours in the way."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import orjson

from benchmarks.client import MODEL, connected, messages
from benchmarks.load import Load, Row, measured
from benchmarks.processes import Served


async def limits(directory: Path, model: Served) -> AsyncIterator[Row]:
    """Bare SQLite inserts, each with its fsync; bare HTTP; the model server alone."""
    with closing(_database(directory / "limits.db")) as database:

        async def insert(number: int) -> None:
            database.execute("INSERT INTO items VALUES (?, ?)", (number, "x" * 250))

        yield await measured(Load("limit", "SQLite: an insert and its fsync", insert, 1000), None)
    small, large = orjson.dumps({"a": 1}), orjson.dumps({"items": messages(0, 20)})
    asked = orjson.dumps({"model": MODEL, "messages": [{"role": "user", "content": "And then?"}]})
    async with connected(model.url) as client:
        for what, path, body in (
            ("HTTP: an echo of 7 bytes", "/echo", small),
            ("HTTP: an echo of 20 items", "/echo", large),
            ("the model server", "/v1/chat/completions", asked),
        ):
            for clients in (1, 64):

                async def post(_: int, path: str = path, body: bytes = body) -> None:
                    await client.post(path, body)

                yield await measured(Load("limit", what, post, 1000 if clients == 1 else 4000, clients), model)
                await asyncio.sleep(0)


def _database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE items (number INTEGER PRIMARY KEY, text TEXT)")
    return database
