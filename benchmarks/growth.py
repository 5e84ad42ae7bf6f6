"""Whether an operation costs more the more conversations there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from benchmarks.client import Idle, messages
from benchmarks.load import Load, Row
from benchmarks.stage import Bench, Stage

CLIENTS = 16
"""Enough to keep the server busy: its CPU is what is looked at."""

OWN = 100
"""Conversations of the benchmark's own, with a hundred items each."""


async def growth(stage: Stage, sizes: Sequence[int]) -> AsyncIterator[Row]:
    """The operations on databases that hold few, many and very many conversations, of one turn each."""
    for size in sizes:
        async with stage.databases.new() as database:
            async with stage.bench(database) as bench:
                first = await bench.client.create()
                await bench.client.turn(first)
            any_of_all = await database.fill(first, size - 1) or [first]
            async with stage.bench(database) as bench:
                for load in await _loads(bench, any_of_all):
                    row = await bench.run(load)
                    yield replace(row, what=f"{row.what}, of {size:,} conversations")


async def _loads(bench: Bench, any_of_all: Sequence[str]) -> Sequence[Load]:
    batch = messages(0, 20)
    own = await asyncio.gather(*(bench.client.filled(100) for _ in range(max(2 * CLIENTS, bench.count(OWN)))))

    async def create(_: int) -> None:
        await bench.client.create()

    async def append(number: int) -> None:
        await bench.client.append(any_of_all[number % len(any_of_all)], batch)

    async def get(number: int) -> None:
        await bench.client.get(f"/conversations/{any_of_all[number % len(any_of_all)]}")

    async def page(number: int) -> None:
        await bench.client.page(own[number % len(own)])

    idle = Idle(own)

    async def turn(_: int) -> None:
        with idle.one() as conversation_id:
            await bench.client.turn(conversation_id)

    what = {
        "create": (create, 2000),
        "append 20 items to any": (append, 500),
        "page of 100 items": (page, 1000),
        "get any": (get, 2000),
        "a turn": (turn, 500),
    }
    return [
        Load("growth", name, operation, bench.count(count), clients)
        for name, (operation, count) in what.items()
        for clients in (1, CLIENTS)
    ]
