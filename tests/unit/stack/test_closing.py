"""Closing in reverse, whatever happens."""

from __future__ import annotations

import asyncio

import pytest

from llama_conversations.stack.closing import Close, ClosingStack


def closing(journal: list[str], name: str, error: Exception | None = None) -> Close:
    async def close() -> None:
        journal.append(name)
        if error:
            raise error

    return close


async def hang() -> None:
    await asyncio.Event().wait()


async def test_the_last_opened_is_closed_first() -> None:
    journal: list[str] = []
    opened = ClosingStack(5)
    for name in ("a", "b", "c"):
        opened.push(name, closing(journal, name))
    await opened.close()
    assert journal == ["c", "b", "a"]


async def test_a_failure_is_logged_and_the_others_are_closed(caplog: pytest.LogCaptureFixture) -> None:
    journal: list[str] = []
    opened = ClosingStack(5)
    opened.push("a", closing(journal, "a"))
    opened.push("b", closing(journal, "b", OSError("no more paper")))
    await opened.close()
    assert journal == ["b", "a"]
    assert "b failed to close: no more paper" in caplog.text


async def test_what_hangs_is_cancelled_after_its_time_and_the_others_are_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal: list[str] = []
    opened = ClosingStack(0.01)
    opened.push("a", closing(journal, "a"))
    opened.push("b", hang)
    await opened.close()
    assert journal == ["a"]
    assert "b did not close within 0.01 seconds" in caplog.text


async def test_what_ignores_its_cancellation_does_not_hold_up_the_others() -> None:
    journal: list[str] = []
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                journal.append("ignored")

    opened = ClosingStack(0.01)
    opened.push("a", closing(journal, "a"))
    opened.push("b", stubborn)
    await opened.close()
    assert journal == ["ignored", "a"]
    released.set()


async def test_what_cancels_itself_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    opened = ClosingStack(5)
    opened.push("a", cancelled)
    await opened.close()
    assert "a was cancelled while it closed" in caplog.text


async def test_everything_is_closed_once_however_often_it_is_asked_for() -> None:
    journal: list[str] = []
    opened = ClosingStack(5)
    for name in ("a", "b"):
        opened.push(name, closing(journal, name))
    await asyncio.gather(opened.close(), opened.close())
    await opened.close()
    assert journal == ["b", "a"]
