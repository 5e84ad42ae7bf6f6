"""What is done again and again: a known hindrance is told once, a fault each time, and nothing gets out."""

from __future__ import annotations

import logging

import pytest

from llama_conversations.errors import StorageUnavailable
from llama_conversations.services.upkeep import Upkeep

AWAY = StorageUnavailable("The database is away.")


def told(caplog: pytest.LogCaptureFixture, *outcomes: Exception | None) -> list[str]:
    """What is logged of some tries, each of which ends well or with an error."""
    upkeep = Upkeep(logging.getLogger("test"), "sweeping")
    for outcome in outcomes:
        with upkeep.one_try():
            if outcome is not None:
                raise outcome
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def test_a_database_that_is_away_is_told_once_until_it_has_worked_again(caplog: pytest.LogCaptureFixture) -> None:
    once = "WARNING sweeping failed, and is tried again: The database is away."
    assert told(caplog, AWAY, AWAY, AWAY, None, None, AWAY, AWAY) == [once, once]
    assert not any(record.exc_info for record in caplog.records)


def test_a_fault_is_told_each_time_with_where_it_is(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, ValueError("a"), AWAY, ValueError("b"))[::2] == ["ERROR sweeping failed"] * 2
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, True]
