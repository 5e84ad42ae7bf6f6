"""Background responses: queued in the database, taken up by any process, cancelled from any process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from llama_conversations.errors import StackError
from llama_conversations.log import get_logger
from llama_conversations.services.responses.background_turn import RunningJob
from llama_conversations.services.responses.failures import failure_of
from llama_conversations.services.responses.following import follow
from llama_conversations.services.responses.journal import EventJournal
from llama_conversations.services.responses.runner import TurnRunner, event_writer
from llama_conversations.services.responses.snapshot import (
    QUEUED,
    failed_head,
    head_with_status,
    new_response,
    response_body,
    response_head,
)
from llama_conversations.services.responses.surroundings import Surroundings
from llama_conversations.services.responses.tasks import uninterrupted
from llama_conversations.services.responses.turn import Turn
from llama_conversations.services.upkeep import Upkeep
from llama_conversations.storage.news import CANCELS, JOBS, Bell
from llama_conversations.storage.records import EventRecord, Job, TurnCommit
from llama_conversations.wire.events import EventWriter, ResponseEvent
from llama_conversations.wire.responses import ResponseError

logger = get_logger(__name__)

POLL_SECONDS = 1.0
"""How often a process looks for jobs that another one has queued, if it is told of none."""

CANCEL_POLL_SECONDS = 0.4
"""How often a process asks whether a job of its own is to be cancelled, if it is not told: of one that it has just
taken up, or of one that was deleted, for example."""

_MakeTurn = Callable[[Job], Awaitable[Turn]]


class BackgroundJobs:
    """The queue as one process serves it.

    Args:
        make_turn: From a job to its turn. Errors: ``StackError``, such as ``ModelNotFound``.
        max_running: Jobs that run here at a time.
        max_waiting: Jobs that may wait, of all processes.
    """

    def __init__(
        self, around: Surroundings, runner: TurnRunner, make_turn: _MakeTurn, max_running: int, max_waiting: int
    ) -> None:
        self._around, self._runner, self._make_turn = around, runner, make_turn
        self._max_running, self._max_waiting = max_running, max_waiting
        self._running: dict[str, RunningJob] = {}
        self._room: Bell | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to take up jobs: those that were left by an earlier process first."""
        self._tasks = [asyncio.create_task(self._take_up()), asyncio.create_task(self._watch_cancellations())]

    async def stop(self) -> None:
        """Take up no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def give_back(self) -> None:
        """What is stopped from now on is queued again, for another process or the next start."""
        for job in self._running.values():
            job.give_back()

    async def enqueue(self, turn: Turn) -> bytes:
        """Store a turn to be run; the response as it is now. Errors: those of ``JobStore.enqueue``."""
        head = response_head(turn, QUEUED)
        body = response_body(head, QUEUED)
        streamed = bool(turn.request.stream)
        request = self._around.sealer.seal_request(turn.request)
        job = Job(turn.scope, new_response(turn, QUEUED, head), request, streamed)
        await self._around.jobs.enqueue(job, _first_events(body) if streamed else (), self._max_waiting)
        self._around.news.announce(JOBS)
        return body

    async def from_its_beginning(self, turn: Turn, body: bytes) -> AsyncGenerator[bytes, None]:
        """The events of a turn that has just been queued.

        The first are told before the database is asked for more: it is queued, whatever happens now, and to try again
        would be to queue it twice.
        """
        first, around = _first_events(body), self._around
        yield "".join(event.frame for event in first).encode()
        rest = follow(around.jobs, around.news, turn.scope, turn.response_id, first[-1].sequence_number)
        async with aclosing(rest) as frames:
            async for frame in frames:
                yield frame

    def cancel(self, response_id: str) -> None:
        """Cancel a job, if it runs here."""
        running = self._running.get(response_id)
        if running is not None:
            running.cancel()
            self._runner.stop(response_id)

    async def _take_up(self) -> None:
        upkeep = Upkeep(logger, "taking up background responses")
        with self._around.news.bell(JOBS) as bell:
            self._room = bell
            while True:
                with upkeep.one_try():
                    # What is taken up is begun, even if the service stops meanwhile: nobody else would run it.
                    while self._has_room and await uninterrupted(self._take_one()):
                        pass
                await bell.wait(POLL_SECONDS)

    @property
    def _has_room(self) -> bool:
        return len(self._running) < self._max_running and self._runner.has_room

    async def _take_one(self) -> bool:
        """Take up a job, if one waits; whether to look for another."""
        job = await self._around.jobs.take(lambda head: head_with_status(head, "in_progress"))
        return job is not None and await self._begin(job)

    async def _begin(self, job: Job) -> bool:
        """Run a job; whether it was kept. Turns that came meanwhile may have taken the last room: then it waits on."""
        response_id = job.response.id
        try:
            turn = await self._make_turn(job)
        except StackError as error:
            await self._refuse(job, error)
            return True
        journal = None
        if job.streamed:
            writer = event_writer(turn.request, job.first_event)
            journal = EventJournal(self._around.jobs, response_id, writer, self._around.news)
        running = RunningJob(turn, self._around, job.response.context_position, journal)
        try:
            task = self._runner.start_job(running, journal)
        except StackError:
            await self._around.jobs.give_back(response_id, response_head(turn, QUEUED))
            return False
        self._running[response_id] = running
        task.add_done_callback(lambda _: self._ended(response_id))
        return True

    def _ended(self, response_id: str) -> None:
        del self._running[response_id]
        self._around.news.announce(response_id)
        if self._room is not None:
            self._room.ring()

    async def _refuse(self, job: Job, error: StackError) -> None:
        """A job that cannot even begin has failed."""
        response = job.response
        code, message = failure_of(error)
        commit = TurnCommit(
            response_id=response.id,
            conversation_id=response.conversation_id,
            stored=True,
            items=(),
            status="failed",
            head=failed_head(response.head, ResponseError(code=code, message=message)),
            output=response.output,
        )
        await self._around.responses.commit(job.scope, commit)
        self._around.news.announce(response.id)

    async def _watch_cancellations(self) -> None:
        upkeep = Upkeep(logger, "asking for cancellations")
        with self._around.news.bell(CANCELS) as bell:
            while True:
                await bell.wait(CANCEL_POLL_SECONDS)
                if self._running:
                    with upkeep.one_try():
                        for response_id in await self._around.jobs.cancel_requests(self._running.keys()):
                            self.cancel(response_id)


def _first_events(body: bytes) -> list[EventRecord]:
    writer = EventWriter()
    frames = [writer.frame(ResponseEvent(kind, body)).decode() for kind in ("response.created", "response.queued")]
    return [EventRecord(number, frame) for number, frame in enumerate(frames)]
