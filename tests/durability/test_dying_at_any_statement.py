"""A server that dies before any statement of a request: nothing is there by half, and a key says what is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.conversations import create, user
from harness.server import StackServer

TESTS = Path(__file__).parents[1]

Shape = tuple[list[int], list[str], list[int], list[int]]
"""Positions of items, statuses of responses, whether conversations are leased, whether keys know what came of them."""


@dataclass(frozen=True)
class Case:
    """A request to a server that has one conversation of one item, ``CONV``, and what may be there when it dies.

    Attributes:
        shapes: What may be there: first the state before it, last the state after it.
    """

    method: str
    path: str
    body: dict[str, object] | None
    shapes: Sequence[Shape]
    key: str = ""


BEFORE = ([0], [], [0], [])
ITEMS = {"items": [user("b"), user("c")]}
TURN = {"model": "echo", "input": "Hello", "conversation": "CONV"}
CASES = [
    Case("DELETE", "/conversations/CONV", None, [BEFORE, ([], [], [], [])]),
    Case("POST", "/conversations/CONV/items", ITEMS, [BEFORE, ([0], [], [0], [0]), ([0, 1, 2], [], [0], [1])], "key"),
    Case("POST", "/responses", TURN,
         [BEFORE, ([0], [], [0], [0]), ([0], ["in_progress"], [1], [0]), ([0, 1, 2], ["completed"], [0], [1])], "key"),
    Case("POST", "/responses", TURN | {"background": True}, [BEFORE, ([0], ["queued"], [1], [])]),
]  # fmt: skip


@pytest.mark.timeout(300)
def test_what_is_there_is_a_whole_step_of_the_request_and_a_key_knows_which(
    sqlite_server: Callable[..., StackServer], tmp_path: Path
) -> None:
    server = sqlite_server().start()
    with server.http() as http:
        conversation_id = create(http, [user("a")])
    server.stop()
    deaths = die_at_each_statement(tmp_path, conversation_id)
    for case, found in zip(CASES, deaths, strict=True):
        shapes = [shape_of(one) for one in found]
        assert len(shapes) > 4
        assert (shapes[0], shapes[-1]) == (case.shapes[0], case.shapes[-1])
        assert [shape for place, shape in enumerate(shapes) if shape not in shapes[:place]] == [*case.shapes]


def die_at_each_statement(directory: Path, conversation_id: str) -> list[list[dict[str, list[list[int]]]]]:
    """For each case what is there after a death at the first statement, at the second, …, and after none."""
    requests = [json.dumps([case.method, case.path, case.body, case.key]) + "\n" for case in CASES]
    done = subprocess.run(
        [sys.executable, "-m", "durability.dying", str(directory / "run.yaml"), str(directory / "state.db")],
        input="".join(requests).replace("CONV", conversation_id),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def shape_of(found: dict[str, list[list[int]]]) -> Shape:
    """The shape of what ``durability.dying`` printed; positions that were given out are those of items."""
    assert sum(next_position for next_position, _ in found["conversations"]) == len(found["items"])
    statuses = [str(status) for [status] in found["responses"]]
    leased = [leased for _, leased in found["conversations"]]
    return sorted(position for [position] in found["items"]), statuses, leased, [known for [known] in found["keys"]]
