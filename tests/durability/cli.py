"""``python -m tests.durability``: rounds of kills, one after the other, and a table of what came of them."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from durability.checks import Violation
from durability.databases import DATABASES
from durability.deployment import Deployment
from durability.operations import write_logs
from durability.report import Report, Totals
from durability.rounds import Plan, play
from scripted_model import ScriptedModel


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Run; the exit code is 1 if anything was violated."""
    options = _parser().parse_args(arguments)
    directory = options.directory or Path(tempfile.mkdtemp(prefix="durability-"))
    totals = Totals()
    asyncio.run(_run(options, directory, totals, say))
    say(totals.table())
    return 1 if totals.violations else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.durability", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2, help="begin no further round after so many")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each further one has the next")
    parser.add_argument("--rounds", type=int, default=None, help="end after so many, whatever the time")
    parser.add_argument("--round-seconds", type=float, default=30, help="how long the kills of a round last")
    parser.add_argument("--kills", type=int, default=0, help="of a round, at the least, however long they take")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--servers", type=int, default=1, help="server processes on one database")
    parser.add_argument("--workers", type=int, default=1, help="of each server")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument(
        "--postgres",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of PostgreSQL, such as fsync=off",
    )
    parser.add_argument(
        "--directory", type=Path, help="for data and the logs of rounds that failed; a new one unless given"
    )
    return parser


async def _run(options: argparse.Namespace, directory: Path, totals: Totals, say: Callable[[str], None]) -> None:
    end = time.monotonic() + 60 * options.minutes
    settings = dict(setting.split("=", 1) for setting in options.postgres)
    with ScriptedModel() as model, DATABASES[options.database](directory, settings) as database:
        deployment = Deployment(directory, model.base_url, database, options.servers, options.workers)
        try:
            await deployment.start()
            while time.monotonic() < end and (options.rounds is None or totals.rounds < options.rounds):
                plan = Plan(options.seed + totals.rounds, options.round_seconds, options.clients, options.kills)
                totals.add(report := await play(deployment, plan))
                _tell(report, directory, say)
            await deployment.stop()
            totals.add_violations(faults := _left(deployment))
            for fault in faults:
                say(f"  {fault}")
        finally:
            deployment.close()


def _left(deployment: Deployment) -> Sequence[Violation]:
    """What can be seen when all servers have been stopped."""
    faults = [*deployment.faults(), *deployment.database.faults()]
    return [Violation("servers and their database end well", fault) for fault in faults]


def _tell(report: Report, directory: Path, say: Callable[[str], None]) -> None:
    say(report.line())
    if report.violations:
        path = directory / f"seed-{report.seed}.jsonl"
        write_logs(report.log, path)
        say(f"  the clients' log: {path}")
        for violation in report.violations:
            say(f"  {violation}")
