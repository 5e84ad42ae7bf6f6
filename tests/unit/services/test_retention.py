"""The keeper of retention: what it does when a pass does not go well."""

from __future__ import annotations

import asyncio
import logging

import pytest

from llama_conversations.access import AccessScope
from llama_conversations.errors import StorageUnavailable
from llama_conversations.services.retention import RetentionKeeper, RetentionSettings
from llama_conversations.storage.records import AgeCursor, Swept
from llama_conversations.storage.stores import RetentionStore

ALICE = AccessScope("acme", "alice")


class Store(RetentionStore):
    """Has one owner; each attempt to begin does the next thing of its script."""

    def __init__(self, *script: bool | Exception, swept: Swept | None = None) -> None:
        self._script, self._swept = list(script), swept
        self.rested = asyncio.Event()
        self.exhausted = asyncio.Event()

    async def begin(self) -> bool:
        if not self._script:
            self.exhausted.set()
            return False
        step = self._script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    async def rest(self, seconds: float) -> None:
        self.rested.set()

    async def next_owner(self, kind: str, after: AccessScope | None) -> AccessScope | None:
        return ALICE if after is None else None

    async def delete_responses(self, scope: AccessScope, before: int) -> Swept | None:
        return self._swept

    async def delete_conversations(self, scope: AccessScope, before: int, after: AgeCursor | None) -> Swept | None:
        return self._swept


async def run(store: Store, **kept: float) -> None:
    keeper = RetentionKeeper(store, RetentionSettings(**kept, every_seconds=0.001))
    await keeper.initialize()
    await asyncio.wait_for(store.exhausted.wait(), 10)
    await keeper.shutdown()


async def test_it_goes_on_after_failures_and_says_what_it_deleted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store = Store(StorageUnavailable("away"), KeyError("bug"), False, True, swept=Swept(3, None, has_more=False))
    await run(store, responses=1, conversations=1)
    assert store.rested.is_set()
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR", "INFO"]
    assert "deleted 3 conversations and 3 responses" in caplog.text


@pytest.mark.parametrize("kind", ["responses", "conversations"])
async def test_it_stops_where_another_process_has_gone_on(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store = Store(True)
    await run(store, **{kind: 1})
    assert not store.rested.is_set()
    assert "another process" in caplog.text


async def test_where_everything_is_kept_it_does_nothing() -> None:
    store = Store(True)
    keeper = RetentionKeeper(store, RetentionSettings())
    await keeper.initialize()
    await asyncio.sleep(0)
    await keeper.shutdown()
    assert store._script == [True]
