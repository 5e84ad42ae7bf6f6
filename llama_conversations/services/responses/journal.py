"""The events of a streamed background response, kept in the database in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llama_conversations.errors import StackError
from llama_conversations.log import get_logger
from llama_conversations.storage.news import News
from llama_conversations.storage.records import EventRecord
from llama_conversations.storage.stores import JobStore
from llama_conversations.wire.events import Event, EventWriter, ResponseEvent

logger = get_logger(__name__)

FLUSH_SECONDS = 0.1
"""How long an event may wait for others before it is stored with them."""

_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


class EventJournal:
    """Numbers events and stores them; what is not stored when the turn commits goes with the commit.

    The terminal event is never stored: it is what the response says, and the response is stored.

    Args:
        writer: Numbers and writes the events.
        news: Where it is announced that some were stored.
    """

    def __init__(self, jobs: JobStore, response_id: str, writer: EventWriter, news: News) -> None:
        self._jobs, self._response_id, self._news = jobs, response_id, news
        self._writer = writer
        self._pending: list[EventRecord] = []
        self._flushing: asyncio.Task[None] | None = None

    def add(self, event: Event) -> None:
        """Take an event; it is stored soon."""
        if isinstance(event, ResponseEvent) and event.type in _TERMINAL:
            return
        number = self._writer.next_number
        self._pending.append(EventRecord(number, self._writer.frame(event).decode()))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_soon())

    async def last(self) -> Sequence[EventRecord]:
        """What is left to be stored, now that no more events come."""
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.wait([self._flushing])
        return self._pending

    async def _flush_soon(self) -> None:
        await asyncio.sleep(FLUSH_SECONDS)
        while self._pending:
            batch = list(self._pending)
            # Shielded: a batch that is on its way is stored, and then it must not be stored again.
            storing = asyncio.ensure_future(self._jobs.add_events(self._response_id, batch))
            try:
                await asyncio.shield(storing)
            except asyncio.CancelledError:
                await asyncio.wait([storing])
                if storing.exception() is None:
                    del self._pending[: len(batch)]
                raise
            except StackError as error:
                logger.warning("events of %s could not be stored yet: %s", self._response_id, error)
                return
            del self._pending[: len(batch)]
            self._news.announce(self._response_id)
