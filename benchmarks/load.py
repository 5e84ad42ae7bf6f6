"""So many operations from so many clients at once, and how long they took."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.client import RequestFailed
from benchmarks.processes import Served


@dataclass(frozen=True)
class Row:
    """What one measurement gave.

    Attributes:
        case: What was measured, such as ``page``.
        what: Of what, such as ``100 of 10,000 items``.
        per_second: Operations per second, of all clients together.
        cpu_ms: CPU time of the server for one operation.
        calibration_ms: How fast the machine was right before: smaller is faster.
        more: Figures that only this case has.
    """

    case: str
    what: str
    clients: int = 1
    operations: int = 0
    per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_ms: float = 0.0
    calibration_ms: float = 0.0
    more: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """Operations to be measured: ``operation`` is called with their numbers, from 0 on."""

    case: str
    what: str
    operation: Callable[[int], Awaitable[object]]
    count: int
    clients: int = 1
    rounds: int = 3


async def measured(load: Load, server: Served | None, first: int = 0) -> Row:
    """Run a load in rounds, one after the other; the figures of the middle one, by speed."""
    rows = [await _round(load, server, first + number * load.count) for number in range(load.rounds)]
    return sorted(rows, key=lambda row: row.per_second)[len(rows) // 2]


async def _round(load: Load, server: Served | None, first: int) -> Row:
    calibration = calibrated()
    numbers, seconds, refused = iter(range(first, first + load.count)), list[float](), Counter[int]()

    async def client() -> None:
        for number in numbers:
            began = time.perf_counter()
            try:
                await load.operation(number)
            except RequestFailed as failure:
                if failure.retry_after is None:
                    raise
                refused[failure.status] += 1
                await asyncio.sleep(0)
            else:
                seconds.append(time.perf_counter() - began)

    cpu = server.cpu_seconds() if server else 0.0
    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(load.clients)))
    wall = time.perf_counter() - began
    spent = server.cpu_seconds() - cpu if server else 0.0
    return Row(
        case=load.case,
        what=load.what,
        clients=load.clients,
        operations=load.count,
        per_second=len(seconds) / wall,
        p50_ms=median(seconds) * 1000,
        p99_ms=quantile(seconds, 0.99) * 1000,
        cpu_ms=spent * 1000 / load.count,
        calibration_ms=calibration,
        more={f"refused_{status}": number for status, number in refused.items()},
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def calibrated() -> float:
    """The milliseconds that a fixed piece of Python takes now."""
    began = time.perf_counter()
    total = 0
    for number in range(60_000):
        total += number * number % 7
    return (time.perf_counter() - began) * 1000
