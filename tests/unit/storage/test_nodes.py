"""Lock files: which processes are alive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llama_conversations.storage.nodes import NodeLocks

HOLD = """
import sys
from pathlib import Path
from llama_conversations.storage.nodes import NodeLocks
locks = NodeLocks(Path(sys.argv[1]))
print(locks.node, flush=True)
sys.stdin.readline()
"""
TWO_HOURS = 7200


def holder(directory: Path) -> tuple[subprocess.Popen[str], str]:
    """A process that is alive, and its node's name."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=20)


def age(directory: Path) -> None:
    """Make every file there two hours older."""
    for file in directory.iterdir():
        then = file.stat().st_mtime - TWO_HOURS
        os.utime(file, (then, then))


def test_a_process_is_alive_until_it_is_killed_and_dead_at_once_afterwards(tmp_path: Path) -> None:
    ours = NodeLocks(tmp_path)
    process, node = holder(tmp_path)
    try:
        assert not ours.is_dead(node)
    finally:
        end(process)
    assert ours.is_dead(node)
    assert ours.is_dead(node)  # once its file is removed, too
    ours.release()
    assert not list(tmp_path.iterdir())


def test_a_stack_of_the_same_process_is_alive_until_it_is_closed(tmp_path: Path) -> None:
    ours, theirs = NodeLocks(tmp_path), NodeLocks(tmp_path)
    assert ours.node != theirs.node
    assert not ours.is_dead(theirs.node)
    theirs.release()
    assert ours.is_dead(theirs.node)
    ours.release()


@pytest.mark.parametrize("node", ["node-1", "../node-0123456789abcdef", "pg-backend-17", ""])
def test_a_node_that_keeps_no_lock_file_here_is_not_judged(tmp_path: Path, node: str) -> None:
    ours = NodeLocks(tmp_path)
    assert not ours.is_dead(node)
    assert not ours.is_dead(ours.node)
    ours.release()


def test_files_of_processes_that_died_long_ago_are_removed_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    living, dead = holder(tmp_path), holder(tmp_path)
    end(dead[0])
    try:
        age(tmp_path)
        young = tmp_path / f"node-{'0' * 16}.lock"
        young.touch()
        ours = NodeLocks(tmp_path)
        assert {file.stem for file in tmp_path.iterdir()} == {living[1], young.stem, ours.node}
        ours.release()
    finally:
        end(living[0])


def test_a_file_that_another_process_removes_at_the_same_time_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / f"node-{'f' * 16}.lock"
    monkeypatch.setattr(Path, "glob", lambda *_: [gone])
    NodeLocks(tmp_path).release()
