"""What is measured on one server."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.client import MODEL, Client, messages
from benchmarks.load import Load, Row, measured
from benchmarks.processes import Served

MIB = 1 << 20

_Take = Callable[[str], Awaitable[object]]


@dataclass(frozen=True)
class Bench:
    """What a case works with; ``database`` is SQLite's file, where that is the database."""

    client: Client
    model: Client
    server: Served
    database: Path | None
    quick: bool

    def count(self, operations: int) -> int:
        """So many operations, or a tenth where it has to be quick."""
        return max(10, operations // 10) if self.quick else operations

    async def run(self, load: Load) -> Row:
        """Measure a load on this server."""
        return await measured(load, self.server)


async def start(bench: Bench) -> AsyncIterator[Row]:
    """How long the server took to start, and what it holds in memory before anybody asked it anything."""
    more = {"seconds": bench.server.start_seconds, "memory_mib": bench.server.memory_bytes() / MIB}
    yield Row("start", "to the first answer", more=more)


async def create(bench: Bench) -> AsyncIterator[Row]:
    """New conversations."""
    for clients in (1, 64):

        async def one(_: int) -> None:
            await bench.client.create()

        yield await bench.run(Load("create", "a conversation", one, bench.count(1000 * min(clients, 8)), clients))


async def append(bench: Bench) -> AsyncIterator[Row]:
    """Twenty items at once; no conversation gets longer than a few hundred."""
    batch = messages(0, 20)
    for clients in (1, 64):
        count = bench.count(2000)
        conversations = [await bench.client.create() for _ in range(max(clients, count // 5))]

        async def one(number: int, conversations: list[str] = conversations) -> None:
            await bench.client.append(conversations[number % len(conversations)], batch)

        yield await bench.run(Load("append", "20 items", one, count, clients))


async def page(bench: Bench) -> AsyncIterator[Row]:
    """A hundred items of conversations of any length, from either end."""
    for length in (100, 1000) if bench.quick else (100, 1000, 10_000):
        conversation_id = await bench.client.filled(length)
        for order in ("desc", "asc"):

            async def one(_: int, conversation_id: str = conversation_id, order: str = order) -> None:
                await bench.client.page(conversation_id, order)

            for clients in (1, 16) if order == "desc" else (1,):
                what = f"100 of {length:,} items, {order}"
                yield await bench.run(Load("page", what, one, bench.count(300 * clients), clients))


async def point(bench: Bench) -> AsyncIterator[Row]:
    """One conversation, read and changed."""
    conversation_id = await bench.client.create()
    path = f"/conversations/{conversation_id}"

    async def read(_: int) -> None:
        await bench.client.get(path)

    async def update(number: int) -> None:
        await bench.client.post(path, {"metadata": {"number": str(number)}})

    yield await bench.run(Load("point", "get a conversation", read, bench.count(2000)))
    yield await bench.run(Load("point", "update its metadata", update, bench.count(500)))


async def turn(bench: Bench) -> AsyncIterator[Row]:
    """Turns behind histories of any length: what is left when the model's own time is taken off."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "And then?"}]}

    async def model(_: int) -> None:
        await bench.model.post("/v1/chat/completions", asked)

    alone = await measured(Load("turn", "the model alone", model, bench.count(300)), None)
    for length in (0, 1000, 5000):
        conversation_id = await bench.client.filled(length)
        await bench.client.turn(conversation_id)

        async def plain(_: int, conversation_id: str = conversation_id) -> None:
            await bench.client.turn(conversation_id)

        async def streamed(_: int, conversation_id: str = conversation_id) -> None:
            await bench.client.stream(conversation_id)

        for what, one in (("plain", plain), ("streamed", streamed)):
            row = await bench.run(Load("turn", f"{what}, behind {length:,} items", one, bench.count(100)))
            yield replace(row, more={"overhead_ms": row.p50_ms - alone.p50_ms})


async def fanout(bench: Bench) -> AsyncIterator[Row]:
    """64 conversations at once, ten turns each."""
    for what, take in (("plain", bench.client.turn), ("streamed", bench.client.stream)):
        own = [await bench.client.create() for _ in range(64)]

        async def ten(number: int, take: _Take = take, own: list[str] = own) -> None:
            for _ in range(10):
                await take(own[number % 64])

        row = await bench.run(Load("fanout", f"{what} turns", ten, 64, clients=64))
        yield replace(
            row,
            operations=640,
            per_second=row.per_second * 10,
            p50_ms=row.p50_ms / 10,
            p99_ms=row.p99_ms / 10,
            cpu_ms=row.cpu_ms / 10,
        )


async def written(bench: Bench) -> AsyncIterator[Row]:
    """What a turn adds to SQLite's write-ahead log, and how much of it are its items."""
    if bench.database is None:
        return
    log = bench.database.with_name(f"{bench.database.name}-wal")
    for length in (0, 1000, 5000):
        conversation_id = await bench.client.filled(length)
        await bench.client.turn(conversation_id)
        sizes = []
        for _ in range(9):
            _empty_log(bench.database)
            await bench.client.turn(conversation_id)
            sizes.append(log.stat().st_size)
        yield Row("written", f"a turn behind {length:,} items", more={"bytes": median(sizes)})


async def overload(bench: Bench) -> AsyncIterator[Row]:
    """As many clients as the server can take, and twice as many: the waiting doubles, and nothing falls over."""
    conversations = [await bench.client.create() for _ in range(2048)]

    async def one(number: int) -> None:
        await bench.client.turn(conversations[number % len(conversations)])

    for clients in (64, 128, 1024):
        row = await bench.run(Load("overload", "turns", one, bench.count(2048), clients, rounds=1))
        yield replace(row, more={**row.more, "p99_by_p50": row.p99_ms / row.p50_ms})


async def soak(bench: Bench, seconds: float = 600) -> AsyncIterator[Row]:
    """Turns for ten minutes, and what the server holds in memory at the begin and at the end."""
    end, memory = time.perf_counter() + (30 if bench.quick else seconds), list[float]()
    while time.perf_counter() < end:
        conversations = [await bench.client.create() for _ in range(64)]

        async def one(number: int, own: list[str] = conversations) -> None:
            await bench.client.stream(own[number % 64])

        row = await measured(Load("soak", "streamed turns", one, 1280, 64, rounds=1), bench.server)
        memory.append(bench.server.memory_bytes() / MIB)
        await asyncio.sleep(0)
    yield replace(row, more={"memory_mib_first": memory[0], "memory_mib_last": memory[-1], "rounds": len(memory)})


def _empty_log(database: Path) -> None:
    with closing(sqlite3.connect(database, timeout=10)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


CASES: Mapping[str, Callable[[Bench], AsyncIterator[Row]]] = {
    case.__name__: case for case in (start, create, append, page, point, turn, fanout, written, overload)
}
"""By name; ``soak`` takes ten minutes and is only run if asked for."""
