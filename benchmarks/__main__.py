"""``python -m benchmarks [--only create,turn] [--database postgres] [--quick] [--out NAME.json]``; see ``--help``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop
from rich.console import Console

from benchmarks import report
from benchmarks.cases import CASES, Case
from benchmarks.databases import OURS, Asked, Databases, databases_of
from benchmarks.growth import growth
from benchmarks.limits import LIMIT, beside_limit, database_limits, machine_limits
from benchmarks.load import Row
from benchmarks.pressure import soak
from benchmarks.processes import Served, model_server
from benchmarks.stage import Stage
from benchmarks.workers import workers
from llama_conversations.config.postgres_url import parse_postgres_url

WIDTH = 220
"""Columns of the table where it does not go to a terminal."""

_BESIDE = ("limits", "workers", "growth", "soak")
_DEFAULT = [*CASES, "limits", "growth"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Choice:
    """What is to be measured.

    Attributes:
        workers: Numbers of processes, for the case of that name.
        conversations: Numbers of them in the database, for the case ``growth``.
    """

    names: Collection[str]
    databases: Sequence[Asked]
    workers: Sequence[int]
    conversations: Sequence[int]
    quick: bool


def main() -> None:
    """Measure, and show what came of it."""
    parser = _parser()
    chosen = parser.parse_args()
    names = chosen.only.split(",") if chosen.only else _DEFAULT
    unknown = set(names) - {*CASES, *_BESIDE}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    choice = Choice(names, chosen.database or ["sqlite"], chosen.workers, chosen.conversations, chosen.quick)
    sys.exit(uvloop.run(_until_signalled(choice, chosen.out)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures the server on this machine.")
    parser.add_argument("--only", help=f"some of these, with commas: {', '.join([*CASES, *_BESIDE])}")
    parser.add_argument(
        "--database",
        action="append",
        type=_database,
        help="sqlite (the default), postgres (a server is started for it), or the URL of a PostgreSQL server, on which"
        " databases are made and dropped; may be given several times",
    )
    parser.add_argument("--workers", type=_numbers, default=(1, 2, 4), help="numbers of processes, for workers: 1,2,4")
    parser.add_argument(
        "--conversations",
        type=_numbers,
        default=(10, 10_000, 1_000_000),
        help="how many the database has, for growth: 10,10000,1000000",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the operations; the figures are rough")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmark.json"), help="where the JSON goes, and a chart beside it"
    )
    return parser


def _database(text: str) -> Asked:
    asked = text if text in OURS else parse_postgres_url(text)
    if asked is None:
        raise argparse.ArgumentTypeError(f"must be {', '.join(OURS)} or like postgresql://user:password@host:port/db")
    return asked


def _numbers(text: str) -> Sequence[int]:
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise ValueError("too few")
    return numbers


async def _until_signalled(choice: Choice, out: Path) -> int:
    """Run, and at a signal end what was started and remove what was made; the exit code."""
    loop, running = asyncio.get_running_loop(), asyncio.ensure_future(_run(choice, out))
    received = list[signal.Signals]()

    def stop(number: signal.Signals) -> None:
        received.append(number)
        running.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        await running
    except asyncio.CancelledError:
        return 128 + received[0]
    return 0


async def _run(choice: Choice, out: Path) -> None:
    console, rows = Console(), list[Row]()
    if not console.is_terminal:
        console.width = WIDTH
    try:
        async for measured in _measured(choice):
            rows.append(beside_limit(measured, [row for row in rows if row.case == LIMIT]))
            console.print(f"[dim]{report.label(rows[-1])}[/]")
    except Exception:
        await _report(rows, out, console)  # hours may have gone into it
        raise
    await _report(rows, out, console)


async def _report(rows: Sequence[Row], out: Path, console: Console) -> None:
    console.print(report.table(rows))
    await asyncio.to_thread(report.write, rows, out, console)


async def _measured(choice: Choice) -> AsyncIterator[Row]:
    with TemporaryDirectory(prefix="bench-") as name:
        async with model_server() as model:
            if "limits" in choice.names:
                async for row in machine_limits(Path(name), model):
                    yield row
            for asked in choice.databases:
                async with databases_of(asked, Path(name)) as databases:
                    async for row in _measured_on(databases, choice, Path(name), model):
                        yield replace(row, database=databases.name)


async def _measured_on(databases: Databases, choice: Choice, directory: Path, model: Served) -> AsyncIterator[Row]:
    stage = Stage(directory, model, databases, choice.quick)
    if "limits" in choice.names:
        async for row in database_limits(databases):
            yield row
    for cases in ([CASES[name] for name in CASES if name in choice.names], [soak] if "soak" in choice.names else []):
        async for row in _together(stage, cases):
            yield row
    if "workers" in choice.names:
        async for row in workers(stage, choice.workers):
            yield row
    if "growth" in choice.names:
        async for row in growth(stage, choice.conversations):
            yield row


async def _together(stage: Stage, cases: Sequence[Case]) -> AsyncIterator[Row]:
    """Cases on one server, one after the other."""
    if not cases:
        return
    async with stage.databases.new() as database, stage.bench(database) as bench:
        for case in cases:
            async for row in case(bench):
                yield row


if __name__ == "__main__":
    main()
