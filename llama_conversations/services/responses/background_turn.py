"""A turn in the background: like any other, but for how it begins, how it may end, and who is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from llama_conversations.services.responses.engine import RunningTurn, Stage
from llama_conversations.services.responses.journal import EventJournal
from llama_conversations.services.responses.snapshot import IN_PROGRESS, QUEUED, response_body, response_head
from llama_conversations.services.responses.surroundings import Surroundings
from llama_conversations.services.responses.tasks import uninterrupted
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.services.responses.turn import Turn
from llama_conversations.storage.news import JOBS
from llama_conversations.storage.records import EventRecord
from llama_conversations.wire.events import Event, ResponseEvent


class RunningJob(RunningTurn):
    """A turn in the background: claimed when it was queued, and shown to whoever follows its events.

    Args:
        position: Its conversation's next position when it was queued.
        journal: Where its events are kept, if they are.
    """

    def __init__(self, turn: Turn, around: Surroundings, position: int | None, journal: EventJournal | None) -> None:
        super().__init__(turn, around)
        self._position, self._journal = position, journal
        self._stage = Stage.SHOWN
        self._given_back = False

    def give_back(self) -> None:
        """If the turn is stopped from now on, it is queued again."""
        self._given_back = True

    async def events(self) -> AsyncGenerator[Event, None]:
        """The turn's events from ``response.in_progress`` on; whatever goes wrong is told by events."""
        try:
            async with self._new_toolbox() as toolbox:
                yield ResponseEvent("response.in_progress", response_body(self._begun, IN_PROGRESS))
                async with aclosing(self._to_its_end(self._read_and_work(toolbox))) as events:
                    async for event in events:
                        yield event
        finally:
            await self._clean_up()

    async def _read_and_work(self, toolbox: Toolbox) -> AsyncGenerator[Event, None]:
        context = await self._rounds.read_context(toolbox, self._position)
        async with aclosing(self._work(context, toolbox)) as events:
            async for event in events:
                yield event

    async def _last_events(self) -> Sequence[EventRecord]:
        return () if self._journal is None else await self._journal.last()

    async def _clean_up(self) -> None:
        if self._stage is Stage.SHOWN and self._given_back:
            await self._last_events()
            queued = response_head(self.turn, QUEUED)
            await uninterrupted(self._around.jobs.give_back(self.turn.response_id, queued))
            self._stage = Stage.ENDED
            self._around.news.announce(JOBS)
        await super()._clean_up()
