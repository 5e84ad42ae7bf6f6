"""More than the server can take, and much for a long time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from statistics import median

from benchmarks.client import Idle
from benchmarks.load import Answers, Load, Measurement, Row, measured
from benchmarks.stage import Bench

MIB = 1 << 20

SATURATING = 64
"""Clients that ask for the next turn at once: more of them do not get more turns."""

OVERLOAD_SECONDS = 10
SOAK_SECONDS = 600

MANY = 1024
"""Clients that are far more than can be served."""

KEPT = 300
"""Conversations of a thousand items whose histories are more than the server keeps in memory."""

FLAT_PERCENT = 5.0
"""Memory is flat if it is not more than this above what it was before."""


async def overload(bench: Bench) -> AsyncIterator[Row]:
    """As many clients as the server can serve, twice as many, very many; and turns that come twice as fast."""
    idle = Idle([await bench.client.create() for _ in range(MANY)])

    async def turn(_: int) -> None:
        with idle.one() as conversation_id:
            await bench.client.turn(conversation_id)

    fastest = 0.0
    for clients in (SATURATING, 2 * SATURATING, MANY):
        row = await bench.run(Load("overload", "turns", turn, bench.count(4096), clients, rounds=1))
        fastest = max(fastest, row.per_second)
        yield _with_ratio(row)
    seconds = bench.count(OVERLOAD_SECONDS * 10) / 10
    what = f"turns, begun at {2 * fastest:,.0f} a second, twice what could be had"
    load = Load("overload", what, turn, int(2 * fastest * seconds), clients=0)
    idle.add([await bench.client.create() for _ in range(load.count)])  # as many as turns, lest one has to wait
    yield _with_ratio(await _arriving(bench, load, 2 * fastest))


def _with_ratio(row: Row) -> Row:
    return row.with_more(p99_by_p50=row.p99_ms / row.p50_ms)


async def _arriving(bench: Bench, load: Load, rate: float) -> Row:
    """Operations that begin at a steady rate, whether those before them have ended or not."""
    answers, measurement = Answers(), Measurement(bench.parties)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(load.count):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            tasks.create_task(answers.of(load.operation(number)))
    return measurement.row(load, answers)


async def soak(bench: Bench) -> AsyncIterator[Row]:
    """Streamed turns for ten minutes, and whether the server's memory stays as it is.

    Before, the server is brought to keep as many histories as it may.
    """
    at_rest = _memory(bench)
    for conversation_id in await _filled(bench):
        await bench.client.turn(conversation_id)
    rows, memory = list[Row](), [_memory(bench)]
    end = time.perf_counter() + (30 if bench.quick else SOAK_SECONDS)
    while time.perf_counter() < end:
        rows.append(await _many_streams(bench))
        memory.append(_memory(bench))
    middle = sorted(rows, key=lambda row: row.per_second)[len(rows) // 2]
    total = replace(middle, operations=sum(row.operations for row in rows), p99_ms=max(row.p99_ms for row in rows))
    thirds = _first_and_last_third([row.per_second for row in rows])
    speed = dict(zip(("first_third_per_second", "last_third_per_second"), thirds, strict=True))
    yield total.with_more(memory_mib_at_rest=at_rest, **memory_figures(memory), **speed)


async def _filled(bench: Bench) -> Sequence[str]:
    """Long conversations, some at once."""
    made = list[str]()
    while len(made) < bench.count(KEPT):
        made += await asyncio.gather(*(bench.client.filled(1000) for _ in range(10)))
    return made


async def _many_streams(bench: Bench) -> Row:
    idle = Idle([await bench.client.create() for _ in range(SATURATING)])

    async def one(_: int) -> None:
        with idle.one() as conversation_id:
            await bench.client.stream(conversation_id)

    return await measured(Load("soak", "streamed turns", one, 20 * SATURATING, SATURATING, rounds=1), bench.parties)


def _memory(bench: Bench) -> float:
    return bench.server.processes.memory_bytes() / MIB


def memory_figures(samples: Sequence[float]) -> dict[str, float | str]:
    """What memory did, from samples in MiB: flat if the last third is not above the first one by ``FLAT_PERCENT``."""
    first, last = _first_and_last_third(samples)
    grown = (last / first - 1) * 100
    return {
        "memory_mib_begin": samples[0],
        "memory_mib_first_third": first,
        "memory_mib_last_third": last,
        "memory_mib_most": max(samples),
        "memory_grown_percent": grown,
        "memory": "flat" if grown <= FLAT_PERCENT else "grows",
    }


def _first_and_last_third(values: Sequence[float]) -> tuple[float, float]:
    third = max(1, len(values) // 3)
    return median(values[:third]), median(values[-third:])
