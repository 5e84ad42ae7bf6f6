"""Readiness: what it looks at, how often, and how long it waits."""

from __future__ import annotations

import asyncio

import pytest

from llama_conversations.errors import NotReady, StorageUnavailable
from llama_conversations.services.readiness import Readiness
from llama_conversations.storage.stores import HealthStore


class Database(HealthStore):
    """Answers when ``answers`` is set, and fails with ``error``."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.error: StorageUnavailable | None = None
        self.reads = self.writes = 0

    async def ping(self) -> None:
        self.reads += 1
        await self._answer()

    async def try_write(self) -> None:
        self.writes += 1
        await self._answer()

    async def _answer(self) -> None:
        await self.answers.wait()
        if self.error:
            raise self.error


async def test_it_is_ready_while_the_database_can_be_written_to_which_is_tried_once_for_all_who_ask() -> None:
    database = Database()
    readiness = Readiness(database, lambda: False)
    await asyncio.gather(*(readiness.check() for _ in range(20)))
    await readiness.check()
    assert database.writes == 1
    await readiness.check_reading()
    await readiness.check_reading()
    assert database.reads == 2


async def test_a_failure_is_told_and_not_remembered() -> None:
    database = Database()
    readiness = Readiness(database, lambda: False)
    database.error = StorageUnavailable("The disk is full.")
    with pytest.raises(NotReady, match="its database cannot be written to"):
        await readiness.check()
    with pytest.raises(StorageUnavailable):
        await readiness.check_reading()
    database.error = None
    await readiness.check()
    await readiness.check_reading()


async def test_a_database_that_hangs_is_asked_once_and_waited_for_no_longer_than_it_may_take() -> None:
    database = Database()
    database.answers.clear()
    readiness = Readiness(database, lambda: False, patience=0.01)
    for _ in range(3):
        with pytest.raises(NotReady):
            await readiness.check()
        with pytest.raises(StorageUnavailable, match=r"did not answer within 0\.01 seconds"):
            await readiness.check_reading()
    assert (database.writes, database.reads) == (1, 1)
    database.answers.set()
    await asyncio.sleep(0)
    await readiness.check()


async def test_a_server_that_drains_is_not_ready_and_its_database_is_not_asked() -> None:
    database = Database()
    with pytest.raises(NotReady, match="it is shutting down"):
        await Readiness(database, lambda: True).check()
    assert database.writes == 0
