"""The benchmarks run from the command line, and what they write can be read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", "--quick", *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=110)


def test_what_is_asked_for_is_measured_and_written(tmp_path: Path) -> None:
    out = tmp_path / "deeper" / "found.json"
    done = run("--only", "start,point,written", "--out", str(out))
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert [row["case"] for row in rows] == ["start", "point", "point", "written", "written", "written"]
    assert all(row["per_second"] > 0 and row["p50_ms"] > 0 for row in rows if row["case"] == "point")
    assert rows[0]["more"]["memory_mib"] > 10
    few, *more = [row["more"]["bytes"] for row in rows[3:]]
    assert all(0 < many < 2 * few for many in more)
    assert "update its metadata" in done.stdout


def test_an_unknown_name_is_told(tmp_path: Path) -> None:
    done = run("--only", "create,nothing")
    assert done.returncode == 2
    assert "unknown: nothing" in done.stderr
