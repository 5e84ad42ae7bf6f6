"""Short rounds of kills, as ``python -m tests.durability`` runs longer ones."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from durability.cli import main

DEPLOYMENTS = [
    "--database sqlite --forks",
    "--database sqlite --servers 2 --workers 2 --forks",
    "--database postgres --servers 3 --forks",
    "--database postgres --workers 2",
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_nothing_that_was_acknowledged_is_lost_and_nothing_is_there_twice_whatever_is_killed(
    deployment: str, tmp_path: Path
) -> None:
    seed = time.time_ns() % 1_000_000
    arguments = [*deployment.split(), *f"--seed {seed} --rounds 1 --round-seconds 5 --kills 5".split()]
    said: list[str] = []
    code = main([*arguments, "--directory", str(tmp_path)], said.append)
    assert code == 0, "\n".join(said)
    assert "violations | 0 |" in said[-1]
