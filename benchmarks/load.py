"""So many operations from so many clients at once, and how long they took."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Protocol

from benchmarks.client import RequestFailed


@dataclass(frozen=True)
class Row:
    """What one measurement gave.

    Attributes:
        case: What was measured, such as ``page``.
        what: Of what, such as ``100 of 10,000 items``.
        database: Of which kind, where there was one.
        workers: Processes of the server.
        per_second: Operations per second, of all clients together.
        cpu_ms: CPU time of the server for one operation; that of the other parties beside it.
        calibration_ms: How fast the machine was right before: smaller is faster.
        more: Figures that only this case has.
    """

    case: str
    what: str
    database: str = ""
    workers: int = 1
    clients: int = 1
    operations: int = 0
    per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_ms: float = 0.0
    database_cpu_ms: float = 0.0
    model_cpu_ms: float = 0.0
    client_cpu_ms: float = 0.0
    calibration_ms: float = 0.0
    more: Mapping[str, float | str] = field(default_factory=dict)

    def each_of(self, parts: int) -> Row:
        """As if every operation had been so many operations, one after the other."""
        times = ("p50_ms", "p99_ms", "cpu_ms", "database_cpu_ms", "model_cpu_ms", "client_cpu_ms")
        shares = {name: getattr(self, name) / parts for name in times}
        return replace(self, operations=self.operations * parts, per_second=self.per_second * parts, **shares)

    def with_more(self, **figures: float | str) -> Row:
        """With further figures."""
        return replace(self, more={**self.more, **figures})


@dataclass(frozen=True)
class Load:
    """Operations to be measured: ``operation`` is called with their numbers, from 0 on."""

    case: str
    what: str
    operation: Callable[[int], Awaitable[object]]
    count: int
    clients: int = 1
    rounds: int = 3


class Working(Protocol):
    """Whatever takes CPU time."""

    def cpu_seconds(self) -> float:
        """CPU time so far."""
        ...


@dataclass(frozen=True)
class Parties:
    """Who shares the machine with the clients, and takes part in an operation."""

    server: Working | None = None
    database: Working | None = None
    model: Working | None = None

    def cpu_seconds(self) -> tuple[float, float, float, float]:
        """CPU time of the server, the database, the model server and the clients so far."""
        server, database, model = (
            party.cpu_seconds() if party else 0.0 for party in (self.server, self.database, self.model)
        )
        return server, database, model, time.process_time()


NOBODY = Parties()
"""The clients alone."""


async def measured(load: Load, parties: Parties = NOBODY) -> Row:
    """Run a load in rounds, one after the other; the figures of the middle one, by speed."""
    rows = [await _round(load, parties, number * load.count) for number in range(load.rounds)]
    return sorted(rows, key=lambda row: row.per_second)[len(rows) // 2]


class Answers:
    """What came of operations: the seconds of those that were done, and how many were refused with which status."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.refused: Counter[int] = Counter()

    async def of(self, operation: Awaitable[object]) -> None:
        """Wait for one. Raises ``RequestFailed``, unless it was refused for a while (``Retry-After``)."""
        began = time.perf_counter()
        try:
            await operation
        except RequestFailed as failure:
            if failure.retry_after is None:
                raise
            self.refused[failure.status] += 1
            await asyncio.sleep(0)
        else:
            self.seconds.append(time.perf_counter() - began)


class Measurement:
    """A measurement that runs: made at its begin, asked at its end."""

    def __init__(self, parties: Parties) -> None:
        self._calibration = calibrated()
        self._parties, self._before, self._began = parties, parties.cpu_seconds(), time.perf_counter()

    def row(self, load: Load, answers: Answers) -> Row:
        """What came of a load."""
        wall = time.perf_counter() - self._began
        spent = [
            (now - before) * 1000 / load.count
            for now, before in zip(self._parties.cpu_seconds(), self._before, strict=True)
        ]
        server, database, model, client = spent
        return Row(
            case=load.case,
            what=load.what,
            clients=load.clients,
            operations=load.count,
            per_second=len(answers.seconds) / wall,
            p50_ms=median(answers.seconds) * 1000,
            p99_ms=quantile(answers.seconds, 0.99) * 1000,
            cpu_ms=server,
            database_cpu_ms=database,
            model_cpu_ms=model,
            client_cpu_ms=client,
            calibration_ms=self._calibration,
            more={f"refused_{status}": number for status, number in answers.refused.items()},
        )


async def _round(load: Load, parties: Parties, first: int) -> Row:
    numbers, answers = iter(range(first, first + load.count)), Answers()

    async def client() -> None:
        for number in numbers:
            await answers.of(load.operation(number))

    measurement = Measurement(parties)
    await asyncio.gather(*(client() for _ in range(load.clients)))
    return measurement.row(load, answers)


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
