"""The benchmarks run from the command line, and what they write can be read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.process_tree import ProcessTree

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "benchmarks", "--quick"]


SECONDS = 100


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    running = subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        said, complained = running.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        running.terminate()  # killed, it would leave what it has started
        said, complained = running.communicate()
        raise AssertionError(said + complained) from None
    return subprocess.CompletedProcess(running.args, running.returncode, said, complained)


BOTH = ("--database", "sqlite", "--database", "postgres")


def test_what_is_asked_for_is_measured_on_each_database_and_written(tmp_path: Path) -> None:
    out = tmp_path / "deeper" / "found.json"
    done = run("--only", "start,point,written", *BOTH, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "update its metadata" in done.stdout
    found = json.loads(out.read_text())["rows"]
    for database in ("sqlite", "postgres"):
        rows = [row for row in found if row["database"] == database]
        assert [row["case"] for row in rows] == ["start", "point", "point", "written", "written"]
        assert all(row["per_second"] > 0 and row["p50_ms"] > 0 for row in rows if row["case"] == "point")
        assert rows[0]["more"]["memory_mib"] > 10
        few, many = [row["more"]["bytes"] for row in rows if row["case"] == "written"]
        # The thousand items before it would be five times that and more; now and then PostgreSQL logs a page whole.
        assert 0 < many < 4 * few


def test_growth_is_measured_on_databases_that_are_filled_for_it(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    done = run("--only", "growth", "--conversations", "20", *BOTH, "--out", str(out))
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())["rows"]
    assert [row["database"] for row in found] == [*["sqlite"] * 10, *["postgres"] * 10]
    assert all(row["what"].endswith("of 20 conversations") for row in found)
    assert all(row["per_second"] > 0 and row["cpu_ms"] > 0 and row["client_cpu_ms"] > 0 for row in found)
    assert all((row["database_cpu_ms"] > 0) == (row["database"] == "postgres") for row in found)


def test_an_unknown_name_is_told(tmp_path: Path) -> None:
    done = run("--only", "create,nothing")
    assert done.returncode == 2
    assert "unknown: nothing" in done.stderr


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter, too."""
    with tempfile.TemporaryDirectory(prefix="bench-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_signal_ends_what_was_started_and_removes_what_was_made() -> None:
    with open_folder() as folder:
        arguments = ("--only", "start,soak", "--database", "postgres", "--out", str(folder / "never.json"))
        environ = {**os.environ, "TMPDIR": str(folder)}
        running = subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
        assert running.stdout is not None
        assert "start: to the first answer" in running.stdout.readline()
        pids = ProcessTree(running.pid).pids()
        assert len(pids) > 4  # itself, the model server, the server, PostgreSQL and its own processes
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=60)
        assert running.returncode == 128 + signal.SIGTERM
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        assert not list(folder.iterdir())
