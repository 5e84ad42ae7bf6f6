"""What several processes of a server do together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from benchmarks.cases import MANY, appends, creates, turns
from benchmarks.load import Row
from benchmarks.stage import Bench, Stage


async def workers(stage: Stage, numbers: Sequence[int]) -> AsyncIterator[Row]:
    """Turns, appends and creates of many clients, with each number of processes, on a new database each."""
    for number in numbers:
        async with stage.databases.new() as database, stage.bench(database, number) as bench:
            async for row in _each(bench):
                # Clients are one process of one thread: near 1 they are what is measured.
                clients = row.client_cpu_ms * row.per_second / 1000
                yield replace(row, workers=number, case="workers").with_more(client_cores=clients)


async def _each(bench: Bench) -> AsyncIterator[Row]:
    yield await turns(bench, streamed=False)
    yield await turns(bench, streamed=True)
    yield await appends(bench, MANY)
    yield await creates(bench, MANY)
