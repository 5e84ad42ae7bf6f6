"""Deletes what is older than run.yaml allows: by one process at a time, in small batches, with pauses between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from llama_conversations.access import AccessScope
from llama_conversations.errors import StackError
from llama_conversations.log import get_logger
from llama_conversations.storage.records import MICROSECONDS, now_us
from llama_conversations.storage.stores import RetentionStore

log = get_logger(__name__)

DAY_SECONDS = 24 * 3600
PAUSE_SECONDS = 0.05
"""Between two batches, for those who wait to write."""


@dataclass(frozen=True)
class RetentionSettings:
    """Ages in days, ``None``: for ever. ``every_seconds``: how often what is too old is looked for."""

    responses: float | None = None
    conversations: float | None = None
    every_seconds: float = 3600

    @property
    def is_needed(self) -> bool:
        """Whether anything ever gets too old."""
        return self.responses is not None or self.conversations is not None


class _Taken(Exception):
    """Another process has gone on: this one was too slow."""


class RetentionKeeper:
    """Makes a pass over the database when one is due, unless another process does."""

    def __init__(self, store: RetentionStore, settings: RetentionSettings) -> None:
        self._store, self._settings = store, settings
        self._task: asyncio.Task[None] | None = None

    async def initialize(self) -> None:
        """Begin, where there is anything to be done."""
        if self._settings.is_needed:
            self._task = asyncio.create_task(self._run(), name="retention")

    async def shutdown(self) -> None:
        """Stop; a batch that is on its way is finished."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                if await self._store.begin():
                    await self._pass()
                    await self._store.rest(self._settings.every_seconds)
            except _Taken:
                log.info("another process deletes what is too old")
            except StackError as error:
                log.warning("deleting what is too old failed, and is tried again: %s", error)
            except Exception:
                log.exception("deleting what is too old failed")
            await asyncio.sleep(self._settings.every_seconds)

    async def _pass(self) -> None:
        counts = {"conversations": 0, "responses": 0}
        if self._settings.conversations is not None:
            before = _before(self._settings.conversations)
            async for scope in self._owners("conversations"):
                counts["conversations"] += await self._delete_conversations(scope, before)
        if self._settings.responses is not None:
            before = _before(self._settings.responses)
            async for scope in self._owners("responses"):
                counts["responses"] += await self._delete_responses(scope, before)
        if any(counts.values()):
            log.info("deleted %(conversations)d conversations and %(responses)d responses that were too old", counts)

    async def _owners(self, kind: str) -> AsyncIterator[AccessScope]:
        scope = await self._store.next_owner(kind, None)
        while scope is not None:
            yield scope
            scope = await self._store.next_owner(kind, scope)

    async def _delete_conversations(self, scope: AccessScope, before: int) -> int:
        count, cursor, has_more = 0, None, True
        while has_more:
            swept = await self._store.delete_conversations(scope, before, cursor)
            if swept is None:
                raise _Taken
            count, cursor, has_more = count + swept.deleted, swept.cursor, swept.has_more
            await asyncio.sleep(PAUSE_SECONDS if has_more else 0)
        return count

    async def _delete_responses(self, scope: AccessScope, before: int) -> int:
        count, has_more = 0, True
        while has_more:
            swept = await self._store.delete_responses(scope, before)
            if swept is None:
                raise _Taken
            count, has_more = count + swept.deleted, swept.has_more
            await asyncio.sleep(PAUSE_SECONDS if has_more else 0)
        return count


def _before(days: float) -> int:
    """What is older than so many days was made before this time, in microseconds since 1970."""
    return now_us() - int(days * DAY_SECONDS * MICROSECONDS)
