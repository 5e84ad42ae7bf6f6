"""What is measured on one server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TypeAlias

import orjson

from benchmarks.client import MODEL, messages
from benchmarks.load import Load, Row
from benchmarks.pressure import overload
from benchmarks.stage import Bench

MIB = 1 << 20

MANY = 64
"""Clients at once, and conversations."""

TURNS = 10
"""Of each of many conversations."""


async def start(bench: Bench) -> AsyncIterator[Row]:
    """How long the server took to start, and what it holds in memory before anybody asked it anything."""
    more = {"seconds": bench.server.start_seconds, "memory_mib": bench.server.processes.memory_bytes() / MIB}
    yield Row("start", "to the first answer", more=more)


async def create(bench: Bench) -> AsyncIterator[Row]:
    """New conversations."""
    for clients in (1, MANY):
        yield await creates(bench, clients)


async def creates(bench: Bench, clients: int) -> Row:
    """New conversations, of so many clients."""

    async def one(_: int) -> None:
        await bench.client.create()

    return await bench.run(Load("create", "a conversation", one, bench.count(1000 * min(clients, 8)), clients))


async def append(bench: Bench) -> AsyncIterator[Row]:
    """Twenty items at once."""
    for clients in (1, 16, MANY):
        yield await appends(bench, clients)


async def appends(bench: Bench, clients: int) -> Row:
    """Twenty items at once, of so many clients; no conversation gets longer than a few hundred."""
    batch, count = messages(0, 20), bench.count(2000)
    conversations = [await bench.client.create() for _ in range(max(clients, count // 5))]

    async def one(number: int) -> None:
        await bench.client.append(conversations[number % len(conversations)], batch)

    return await bench.run(Load("append", "20 items", one, count, clients))


async def page(bench: Bench) -> AsyncIterator[Row]:
    """A hundred items of conversations of any length, from either end."""
    for length in (100, 1000) if bench.quick else (100, 1000, 10_000):
        conversation_id = await bench.client.filled(length)
        for order in ("desc", "asc"):

            async def one(_: int, conversation_id: str = conversation_id, order: str = order) -> None:
                await bench.client.page(conversation_id, order)

            for clients in (1, 16):
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

    alone = await bench.alone(Load("turn", "the model alone", model, bench.count(300)))
    for length in (0, 1000, 5000):
        conversation_id = await bench.client.filled(length)
        await bench.client.turn(conversation_id)

        async def plain(_: int, conversation_id: str = conversation_id) -> None:
            await bench.client.turn(conversation_id)

        async def streamed(_: int, conversation_id: str = conversation_id) -> None:
            await bench.client.stream(conversation_id)

        for what, one in (("plain", plain), ("streamed", streamed)):
            row = await bench.run(Load("turn", f"{what}, behind {length:,} items", one, bench.count(100)))
            yield row.with_more(overhead_ms=row.p50_ms - alone.p50_ms)


async def fanout(bench: Bench) -> AsyncIterator[Row]:
    """Many conversations at once, ten turns each."""
    for streamed in (False, True):
        yield await turns(bench, streamed=streamed)


async def turns(bench: Bench, *, streamed: bool) -> Row:
    """Many conversations at once, ten turns each, one after the other."""
    take = bench.client.stream if streamed else bench.client.turn
    conversations = [await bench.client.create() for _ in range(MANY)]

    async def ten(number: int) -> None:
        for _ in range(TURNS):
            await take(conversations[number % MANY])

    row = await bench.run(Load("fanout", "streamed turns" if streamed else "plain turns", ten, MANY, MANY))
    return row.each_of(TURNS)


async def written(bench: Bench) -> AsyncIterator[Row]:
    """What a turn adds to the write-ahead log, and what its items have."""
    for length in (0, 1000) if bench.quick else (0, 1000, 5000):
        conversation_id = await bench.client.filled(length)
        await bench.client.turn(conversation_id)

        async def one(conversation_id: str = conversation_id) -> None:
            await bench.client.turn(conversation_id)

        logged = await bench.database.logged_by(one, bench.count(100))
        newest = orjson.loads(await bench.client.get(f"/conversations/{conversation_id}/items?limit=2&order=desc"))
        items = sum(len(orjson.dumps(item)) for item in newest["data"])
        yield Row("written", f"a turn behind {length:,} items", more={**logged, "of_items": items})


Case: TypeAlias = Callable[[Bench], AsyncIterator[Row]]

CASES: Mapping[str, Case] = {
    case.__name__: case for case in (start, create, append, page, point, turn, fanout, written, overload)
}
"""By name."""
