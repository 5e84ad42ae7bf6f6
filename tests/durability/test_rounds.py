"""Short rounds of kills; ``python -m tests.durability`` runs longer ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from durability.databases import DATABASES
from durability.deployment import Deployment
from durability.report import Report
from durability.rounds import Plan, play
from scripted_model import ScriptedModel

KILLS = 5


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("database", "servers"), [("sqlite", 1), ("sqlite", 3)])
def test_nothing_that_was_acknowledged_is_lost_and_nothing_is_there_twice_whatever_is_killed(
    database: str, servers: int, model: ScriptedModel, tmp_path: Path
) -> None:
    report, faults = asyncio.run(play_once(database, servers, model.base_url, tmp_path))
    violations = [*map(str, report.violations), *faults]
    assert not violations, f"seed {report.seed}: {violations}"
    assert report.kills >= KILLS


async def play_once(database: str, servers: int, model_url: str, directory: Path) -> tuple[Report, Sequence[str]]:
    """A round on a database of its own; what came of it, and what is wrong when all is stopped."""
    seed = time.time_ns() % 1_000_000  # a failure tells it: ``python -m tests.durability --rounds 1 --seed …``
    with DATABASES[database](directory) as data:
        deployment = Deployment(directory, model_url, data, servers)
        try:
            await deployment.start()
            report = await play(deployment, Plan(seed, seconds=5, kills=KILLS))
            await deployment.stop()
            return report, [*deployment.faults(), *data.faults()]
        finally:
            deployment.close()
