"""``python -m benchmarks [--only create,turn] [--quick] [--out results/NAME.json]``; see ``--help``."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop
from rich.console import Console

from benchmarks import report
from benchmarks.cases import CASES, Bench, soak
from benchmarks.client import connected
from benchmarks.growth import growth
from benchmarks.limits import limits
from benchmarks.load import Row
from benchmarks.processes import model_server, stack_server

WIDTH = 160
"""Columns of the table where it does not go to a terminal."""

_BESIDE = ("limits", "growth", "soak")
_DEFAULT = [*CASES, "limits", "growth"]


def main() -> None:
    """Measure, and show what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures the server on this machine.")
    parser.add_argument("--only", help=f"some of these, with commas: {', '.join([*CASES, *_BESIDE])}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the operations; the figures are rough")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmark.json"), help="where the JSON goes, and a chart beside it"
    )
    chosen = parser.parse_args()
    names = chosen.only.split(",") if chosen.only else _DEFAULT
    unknown = set(names) - {*CASES, *_BESIDE}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    uvloop.run(_run(names, chosen.out, quick=chosen.quick))


async def _run(names: Collection[str], out: Path, *, quick: bool) -> None:
    console, table, rows = Console(), report.table(), list[Row]()
    if not console.is_terminal:
        console.width = WIDTH
    async for row in _measured(names, quick=quick):
        rows.append(row)
        report.add(table, row)
        console.print(f"[dim]{row.case}: {row.what} ({row.clients})[/]")
    console.print(table)
    await asyncio.to_thread(report.write, rows, out, console)


async def _measured(names: Collection[str], *, quick: bool) -> AsyncIterator[Row]:
    with TemporaryDirectory(prefix="bench-") as name, model_server() as model:
        directory = Path(name)
        if "limits" in names:
            async for row in limits(directory, model):
                yield row
        with stack_server(directory, model.url):
            pass  # the first start makes the tables
        with stack_server(directory, model.url) as server:
            async with connected(f"{server.url}/v1") as client, connected(model.url) as alone:
                bench = Bench(client, alone, server, directory / "state.db", quick)
                for case in [*(CASES[name] for name in CASES if name in names), *([soak] if "soak" in names else [])]:
                    async for row in case(bench):
                        yield row
        if "growth" in names:
            async for row in growth(model, quick=quick):
                yield row


if __name__ == "__main__":
    main()
