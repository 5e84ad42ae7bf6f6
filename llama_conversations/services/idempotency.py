"""Requests with an idempotency key: each is run once, and everybody who asks with its key gets its answer.

A request runs as a task of its own, which no client that hangs up can end. All that ask in this process follow its
answer while it is made; others are given what was kept. Where another process runs it, the database is asked until that
one has ended, or has died.
"""

from __future__ import annotations

import asyncio
import secrets
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from llama_conversations.access import AccessScope
from llama_conversations.errors import AnswerNotKept, ShuttingDown, StackError
from llama_conversations.log import get_logger
from llama_conversations.services.responses.tasks import uninterrupted
from llama_conversations.services.upkeep import Upkeep
from llama_conversations.storage.effects import MAX_KEPT_CHARACTERS, enter_hold
from llama_conversations.storage.records import KeptAnswer, KeyBusy, KeyHold, LostAnswer
from llama_conversations.storage.stores import IdempotencyStore

log = get_logger(__name__)

POLL_SECONDS = 0.1
"""How often the database is asked for the end of a request that another process runs."""

PURGE_SECONDS = 600.0
"""How often keys that are too old are forgotten."""

DRAIN_SECONDS = 5.0
"""How long what still runs may take to end at shutdown; turns have had their own time by then."""

_RENEWALS_PER_LEASE = 3


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request with a key; ``fingerprint`` is the same for the same request only."""

    scope: AccessScope
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """A JSON answer; ``headers`` are those beside what every answer has."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended.

    Attributes:
        whole: Its answer, unless that is the stream which was recorded.
        final: The same answer is given again; otherwise whoever asks again is to try again.
    """

    whole: WholeAnswer | None
    final: bool = True


class Recording:
    """An answer while it is made, and afterwards; any number of followers read it from its beginning.

    Attributes:
        replayed: The answer was made before, by an earlier run of the request.
    """

    def __init__(self) -> None:
        self.replayed = False
        self._whole: WholeAnswer | None = None
        self._frames: list[bytes] = []
        self._ended = False
        self._error: BaseException | None = None
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def streaming(self) -> bool:
        """Whether it is a stream that has begun."""
        return bool(self._frames)

    def add(self, frame: bytes) -> None:
        """More of a stream."""
        self._frames.append(frame)
        self._wake()

    def end(self, whole: WholeAnswer | None) -> None:
        """There is no more of the stream; or this is the whole answer."""
        self._whole, self._ended = whole, True
        self._wake()

    def fail(self, error: BaseException) -> None:
        """There is no answer, or no more of it."""
        self._error, self._ended = error, True
        self._wake()

    def stream_text(self) -> str | None:
        """The stream so far; ``None`` if it is too long to be kept."""
        if sum(map(len, self._frames)) > MAX_KEPT_CHARACTERS:
            return None
        return b"".join(self._frames).decode()

    async def whole(self) -> WholeAnswer | None:
        """The answer, once it is there; ``None`` when it is a stream that has begun. Errors: what it failed with."""
        while not self._ended and not self._frames:
            await self._news()
        if self._error is not None and not self._frames:
            raise self._error
        return self._whole

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """The stream, as many frames at once as are there. Errors: what it failed with, behind its frames."""
        sent = 0
        while True:
            if sent < len(self._frames):
                ready, sent = self._frames[sent:], len(self._frames)
                yield b"".join(ready)
            elif self._ended:
                break
            else:
                await self._news()
        if self._error is not None:
            raise self._error

    async def _news(self) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():  # its follower was cancelled
                waiting.set_result(None)
        self._waiting.clear()


class KeyedWork(Protocol):
    """What is done for a request with a key."""

    @abstractmethod
    async def run(self, recording: Recording) -> Outcome:
        """Serve the request; a stream is put into the recording. Errors are answers here, none is raised."""
        ...

    @abstractmethod
    async def recover(self, lost: LostAnswer, recording: Recording) -> Outcome:
        """Answer from what came of a request whose process died after its effect. Errors: ``AnswerNotKept``."""
        ...


class IdempotencyKeys:
    """The keys of one database, as one process uses them."""

    def __init__(self, store: IdempotencyStore) -> None:
        self._store = store
        self._running: dict[KeyedRequest, Recording] = {}
        self._holders: set[str] = set()
        self._requests: set[asyncio.Task[None]] = set()
        self._upkeep: list[asyncio.Task[None]] = []
        self._closing = False

    async def initialize(self) -> None:
        """Start to keep leases and to forget old keys."""
        renewal = self._store.lease_seconds / _RENEWALS_PER_LEASE
        self._upkeep = [
            asyncio.create_task(Upkeep(log, "keeping idempotency keys").every(renewal, self._renew)),
            asyncio.create_task(Upkeep(log, "forgetting idempotency keys").every(PURGE_SECONDS, self._purge)),
        ]

    async def shutdown(self) -> None:
        """Take no more requests; those that run keep their answers, if they end soon."""
        self._closing = True
        if self._requests:
            _, left = await asyncio.wait(self._requests, timeout=DRAIN_SECONDS)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)
        for task in self._upkeep:
            task.cancel()
        await asyncio.gather(*self._upkeep, return_exceptions=True)

    def follow(self, request: KeyedRequest, work: KeyedWork) -> tuple[Recording, bool]:
        """The answer of a request, and whether it is made because of this call. Errors: ``ShuttingDown``.

        The recording fails with ``IdempotencyKeyReused`` when the key belongs to another request, and with
        ``AnswerNotKept``.
        """
        found = self._running.get(request)
        if found is not None:
            return found, False
        if self._closing:
            raise ShuttingDown
        recording = self._running[request] = Recording()
        task = asyncio.create_task(self._answer(request, recording, work))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        return recording, True

    async def _answer(self, request: KeyedRequest, recording: Recording, work: KeyedWork) -> None:
        hold = KeyHold(request.scope, request.key, secrets.token_hex(8))
        self._holders.add(hold.holder)
        try:
            found = await self._claim(hold, request.fingerprint)
            if isinstance(found, KeyHold):
                outcome = await self._run(hold, recording, work)
            elif isinstance(found, LostAnswer):
                recording.replayed = True
                outcome = await work.recover(found, recording)
            else:
                recording.replayed = True
                outcome = _kept(found, request.key, recording)
        except asyncio.CancelledError:
            recording.fail(ShuttingDown())
        except Exception as error:  # noqa: BLE001  (told to those who follow)
            recording.fail(error)
        else:
            recording.end(outcome.whole)
        finally:
            self._holders.discard(hold.holder)
            del self._running[request]

    async def _claim(self, hold: KeyHold, fingerprint: str) -> KeyHold | KeptAnswer | LostAnswer:
        while isinstance(found := await self._store.claim(hold, fingerprint), KeyBusy):
            if self._closing:
                raise ShuttingDown
            await asyncio.sleep(POLL_SECONDS)
        return found

    async def _run(self, hold: KeyHold, recording: Recording, work: KeyedWork) -> Outcome:
        enter_hold(hold)
        try:
            outcome = await work.run(recording)
        except BaseException:
            await uninterrupted(self._end(self._store.release(hold)))
            raise
        ending = self._store.keep(hold, _to_keep(outcome, recording)) if outcome.final else self._store.release(hold)
        await uninterrupted(self._end(ending))
        return outcome

    async def _end(self, ending: Awaitable[None]) -> None:
        """Store the end of a request. If that fails, its lease runs out, and its effect is what its key still knows."""
        try:
            await ending
        except StackError as error:
            log.warning("the answer to a request with an idempotency key could not be kept: %s", error)

    async def _renew(self) -> None:
        if self._holders:
            await self._store.renew_leases(self._holders)

    async def _purge(self) -> None:
        while await self._store.purge():
            pass


def _to_keep(outcome: Outcome, recording: Recording) -> KeptAnswer:
    whole = outcome.whole
    if whole is None:
        return KeptAnswer(200, "{}", recording.stream_text(), streamed=True)
    body = whole.body.decode() if len(whole.body) <= MAX_KEPT_CHARACTERS else None
    return KeptAnswer(whole.status, orjson.dumps(dict(whole.headers)).decode(), body, streamed=False)


def _kept(answer: KeptAnswer, key: str, recording: Recording) -> Outcome:
    if answer.body is None:
        raise AnswerNotKept(key)
    if answer.streamed:
        recording.add(answer.body.encode())
        return Outcome(None)
    return Outcome(WholeAnswer(answer.status, answer.body.encode(), orjson.loads(answer.headers)))
