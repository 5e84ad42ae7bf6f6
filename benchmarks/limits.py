"""What this machine allows at best, with nothing of ours in the way."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import orjson

from benchmarks.client import MODEL, connected, messages
from benchmarks.databases import Bare, Databases, ItemRow
from benchmarks.load import Load, Parties, Row, measured
from benchmarks.processes import Served
from llama_conversations.ids import CONVERSATION_PREFIX, new_id, partition_of

LIMIT = "limit"
"""The case of these rows; ``what`` is then the case and the ``what`` of the server's row beside it."""

LONG = 10_000
"""Items of the conversation whose pages are read."""


async def machine_limits(directory: Path, model: Served) -> AsyncIterator[Row]:
    """A bare insert and its fsync; bare HTTP; the model server alone."""
    with closing(_file(directory / "limits.db")) as database:

        async def insert(number: int) -> None:
            database.execute("INSERT INTO items VALUES (?, ?)", (number, "x" * 250))

        yield await measured(Load(LIMIT, "SQLite: an insert and its fsync", insert, 1000))
    small, large = orjson.dumps({"a": 1}), orjson.dumps({"items": messages(0, 20)})
    asked = orjson.dumps({"model": MODEL, "messages": [{"role": "user", "content": "And then?"}]})
    parties = Parties(model=model.processes)
    async with connected(model.url) as client:
        for what, path, body in (
            ("HTTP: an echo of 7 bytes", "/echo", small),
            ("HTTP: an echo of 20 items", "/echo", large),
            ("the model server", "/v1/chat/completions", asked),
        ):
            for clients in (1, 64):

                async def post(_: int, path: str = path, body: bytes = body) -> None:
                    await client.post(path, body)

                yield await measured(Load(LIMIT, what, post, 1000 if clients == 1 else 4000, clients), parties)
                await asyncio.sleep(0)


async def database_limits(databases: Databases) -> AsyncIterator[Row]:
    """The database's driver in this process, on the tables of the server: what an append and a page take at least.

    Rows are ready-made text, and no conversation is looked at: it is the inserts and the one scan alone.
    """
    async with databases.new() as database, database.bare() as bare:
        parties = Parties(database=database)
        for clients in bare.clients:
            for load in await _loads(bare, clients):
                yield replace(await measured(load, parties), database=databases.name)


async def _loads(bare: Bare, clients: int) -> Sequence[Load]:
    conversations = [new_id(CONVERSATION_PREFIX) for _ in range(100)]
    long = new_id(CONVERSATION_PREFIX)
    for conversation_id in (long, *conversations):
        await bare.add(conversation_id)
    for position in range(0, LONG, 20):
        await bare.insert(list(_items(long, position)))

    async def insert(number: int) -> None:
        again, which = divmod(number, len(conversations))
        await bare.insert(list(_items(conversations[which], again * 20)))

    async def page(_: int) -> None:
        b",".join(text.encode() for text in await bare.page(long))

    return [
        Load(LIMIT, "append: 20 items", insert, 500 * min(clients, 4), clients),
        Load(LIMIT, f"page: 100 of {LONG:,} items, desc", page, 300 * clients, clients),
    ]


def _items(conversation_id: str, first: int) -> Iterator[ItemRow]:
    partition = partition_of(conversation_id)
    for position, text in enumerate(_TEXTS, first):
        item_id = f"msg_{partition}{token_hex(20)}"
        yield conversation_id, position, item_id, "message", text % item_id, None, 1


def _stored(message: object) -> str:
    item = {"id": "%s", "type": "message", "status": "completed", "role": "user"}
    content = [{"type": "input_text", "text": dict(message)["content"]}]  # type: ignore[call-overload]
    return orjson.dumps({**item, "content": content}).decode()


_TEXTS = [_stored(message) for message in messages(0, 20)]


def beside_limit(row: Row, limits: Sequence[Row]) -> Row:
    """A server's row with ``of_limit``: its operations per second, as a share of what the driver alone did.

    The limit is that of as many clients, or of the most below them.
    """
    same = (limit for limit in limits if (limit.database, limit.what) == (row.database, f"{row.case}: {row.what}"))
    fitting = max(
        (limit for limit in same if limit.clients <= row.clients), key=lambda limit: limit.clients, default=None
    )
    return row if fitting is None else row.with_more(of_limit=row.per_second / fitting.per_second)


def _file(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE items (number INTEGER PRIMARY KEY, text TEXT)")
    return database
