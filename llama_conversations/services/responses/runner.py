"""Runs turns as tasks of their own, so that a turn does not depend on who listens to it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine
from contextlib import aclosing

from llama_conversations.errors import Overloaded, ShuttingDown, StackError, StreamStalled
from llama_conversations.log import get_logger
from llama_conversations.services.responses.background_turn import RunningJob
from llama_conversations.services.responses.engine import RunningTurn
from llama_conversations.services.responses.journal import EventJournal
from llama_conversations.services.responses.obfuscation import padding_for
from llama_conversations.wire.events import Event, EventWriter
from llama_conversations.wire.responses import CreateResponse

logger = get_logger(__name__)

MAX_BUFFERED_BYTES = 1 << 20
"""What is kept for a reader that is slower than the model; then the turn waits for the reader."""

STALLED_SECONDS = 60.0
"""How long a turn waits for a reader that takes nothing, before it goes on without."""


class FrameBuffer:
    """Frames between a turn and its reader: bounded, and joined where several wait."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._closed = self._detached = False
        self._error: BaseException | None = None
        self._changed = asyncio.Event()

    async def put(self, frame: bytes) -> None:
        """Add a frame; waits while the buffer is full. Without a reader it does nothing."""
        if self._detached:
            return
        self._frames.append(frame)
        self._bytes += len(frame)
        self._changed.set()
        if self._bytes > MAX_BUFFERED_BYTES:
            await self._wait_for_room()

    def close(self, error: BaseException | None, last: bytes = b"") -> None:
        """There is no more but a ``last`` frame; ``error`` is raised to the reader behind the frames."""
        if last and not self._detached:
            self._frames.append(last)
        self._closed, self._error = True, self._error or error
        self._changed.set()

    def detach(self) -> None:
        """The reader is gone."""
        self._detached = True
        self._frames.clear()
        self._bytes = 0
        self._changed.set()

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """All frames, as many at once as are there."""
        while True:
            self._changed.clear()
            if self._frames:
                ready = b"".join(self._frames)
                self._frames.clear()
                self._bytes = 0
                self._changed.set()
                yield ready
            elif self._closed or self._detached:
                break
            else:
                await self._changed.wait()
        if self._error is not None:
            raise self._error

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                while self._bytes > MAX_BUFFERED_BYTES:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            logger.warning("a reader took nothing for %.0f s; its turn goes on without it", STALLED_SECONDS)
            self.detach()
            self._error = StreamStalled(STALLED_SECONDS)


class TurnRunner:
    """Runs turns until they end or the server does.

    Args:
        max_turns: Turns at a time; one more is ``Overloaded``.
    """

    def __init__(self, max_turns: int) -> None:
        self._max_turns = max_turns
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more turns."""
        return self._closed

    def response_ids(self) -> Collection[str]:
        """Of the turns that run now."""
        return self._tasks.values()

    async def run(self, running: RunningTurn) -> bytes:
        """Run a turn to its end; the response object as it is served.

        If the caller is cancelled, the turn goes on where something is kept of it. Errors: those of ``admit`` and of
        the claim, and what made the turn fail.
        """
        task = self._start(running, _run_silently(running))
        await self._listen(task, running)
        if running.error is not None:
            raise running.error
        return running.body

    async def stream(self, running: RunningTurn, writer: EventWriter | None = None) -> AsyncGenerator[bytes, None]:
        """Run a turn; its events as server-sent events, or as the writer writes them.

        Errors before the first frame: as of ``run``, of the claim.
        """
        buffer = FrameBuffer()
        task = self._start(running, _run_into(buffer, running, writer or event_writer(running.turn.request)))
        try:
            async with aclosing(buffer.frames()) as frames:
                async for frame in frames:
                    yield frame
        finally:
            buffer.detach()
            if not running.turn.leaves_trace:
                task.cancel()

    def start_job(self, job: RunningJob, journal: EventJournal | None) -> asyncio.Task[None]:
        """Run a background turn. Errors: ``Overloaded``, ``ShuttingDown``."""
        return self._start(job, _run_silently(job) if journal is None else _run_into_journal(journal, job))

    def stop(self, response_id: str) -> None:
        """End a turn that runs here before its time."""
        for task, running_id in self._tasks.items():
            if running_id == response_id:
                task.cancel()

    def close(self) -> None:
        """Take no new turns."""
        self._closed = True

    async def drain(self, seconds: float) -> None:
        """Close; wait for the turns that run, at most so many seconds, then end the others as failed."""
        self.close()
        if self._tasks:
            logger.info("waiting for %d running turns", len(self._tasks))
            _, left = await asyncio.wait(self._tasks, timeout=seconds)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)

    @property
    def has_room(self) -> bool:
        """Whether a further turn would be taken now."""
        return not self._closed and len(self._tasks) < self._max_turns

    def admit(self) -> None:
        """Errors: ``Overloaded``, ``ShuttingDown`` when no further turn is taken now."""
        if self._closed:
            raise ShuttingDown
        if not self.has_room:
            raise Overloaded(f"{self._max_turns} turns are running, which is its limit")

    def _start(self, running: RunningTurn, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        try:
            self.admit()  # again: others may have come between the request's checks and its turn
        except StackError:
            work.close()
            raise
        task = asyncio.create_task(work)
        self._tasks[task] = running.turn.response_id
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled():
            task.exception()  # whoever listened was told; nobody may be listening any more

    async def _listen(self, task: asyncio.Task[None], running: RunningTurn) -> None:
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if _is_being_cancelled():
                if not running.turn.leaves_trace:
                    task.cancel()
                if not self._closed:
                    raise
                await asyncio.wait((task,))  # whoever ends the server ends the turn: soon it is known what came of it
            if not running.ended_well and running.error is None:
                raise ShuttingDown from None


def _is_being_cancelled() -> bool:
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


def event_writer(request: CreateResponse, first: int = 0) -> EventWriter:
    """A writer of a stream's events, as the request wants them."""
    return EventWriter(first, padding_of(request))


def padding_of(request: CreateResponse) -> Callable[[int], str] | None:
    """What a request's stream is padded with, if it is."""
    wanted = request.stream_options is not None and request.stream_options.include_obfuscation
    return padding_for if wanted else None


async def _run_silently(running: RunningTurn) -> None:
    async with aclosing(running.events()) as events:
        async for _ in events:
            pass


async def _run_into_journal(journal: EventJournal, job: RunningJob) -> None:
    async with aclosing(job.events()) as events:
        async for event in events:
            journal.add(event)


async def _run_into(buffer: FrameBuffer, running: RunningTurn, writer: EventWriter) -> None:
    told: Event | None = None
    try:
        async with aclosing(running.events()) as events:
            async for told in events:
                await buffer.put(writer.frame(told))
    except asyncio.CancelledError:
        last = running.last_event
        if last is not None and running.ended_well:  # stopped behind its commit, it is told as it is stored
            buffer.close(None, b"" if told is last else writer.frame(last))
        else:
            buffer.close(ShuttingDown())
        raise
    except BaseException as error:
        buffer.close(error)
        raise
    buffer.close(None)
