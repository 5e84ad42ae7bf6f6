"""What a turn writes does not grow with what came before it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import pytest

from harness.answers import ok
from harness.conversations import create, user
from harness.turns import post

LATE = 300
MEASURED = 5
"""Turns over which a middle value is taken: now and then a page of the database is split."""

Take = Callable[[], None]


def in_conversation(http: httpx2.Client) -> Take:
    """Turns in one conversation."""
    conversation_id = create(http)
    return lambda: ok(post(http, "json", "A question of some length", conversation=conversation_id))


def in_chain(http: httpx2.Client) -> Take:
    """Turns in one chain."""
    last: list[str | None] = [None]

    def take() -> None:
        last[0] = ok(post(http, "json", "A question of some length", previous_response_id=last[0]))["id"]

    return take


def behind_many_items(http: httpx2.Client, count: int) -> Take:
    """Turns behind a long history."""
    conversation_id = create(http, [user("An item of some length " * 10) for _ in range(count)])
    return lambda: ok(post(http, "json", "A question of some length", conversation=conversation_id))


def bytes_written(database: Path, take: Take) -> int:
    """How many bytes a turn adds to the write-ahead log, which is emptied before."""
    with closing(sqlite3.connect(database, timeout=10)) as connection:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert not busy
    log = database.with_name(f"{database.name}-wal")
    assert log.stat().st_size == 0
    take()
    return log.stat().st_size


@pytest.fixture
def measured(new_server: Any, tmp_path: Path) -> Any:
    """A client, and the file that its server writes."""
    path = tmp_path / "measured.db"
    server = new_server(storage={"backends": {"default": {"type": "sql_sqlite", "path": str(path)}}}).start()
    with server.http() as http:
        yield http, path


@pytest.mark.parametrize("begin", [in_conversation, in_chain], ids=["conversation", "chain"])
def test_a_late_turn_writes_as_much_as_an_early_one(
    measured: tuple[httpx2.Client, Path], begin: Callable[[httpx2.Client], Take]
) -> None:
    http, path = measured
    take = begin(http)
    take()
    early = median(bytes_written(path, take) for _ in range(MEASURED))
    for _ in range(LATE - 2 * MEASURED):
        take()
    late = median(bytes_written(path, take) for _ in range(MEASURED))
    assert 0 < late < 2 * early, (early, late)


def test_a_turn_behind_many_items_writes_as_much_as_one_behind_none(measured: tuple[httpx2.Client, Path]) -> None:
    http, path = measured
    alone = in_conversation(http)
    alone()
    few = median(bytes_written(path, alone) for _ in range(MEASURED))
    for count in (1000, 5000):
        behind = behind_many_items(http, count)
        behind()
        many = median(bytes_written(path, behind) for _ in range(MEASURED))
        assert 0 < many < 2 * few, (few, count, many)
