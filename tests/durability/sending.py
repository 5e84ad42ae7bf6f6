"""Sending a request until it is known what became of it, or nobody can know."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2

from durability.deployment import LEASE_SECONDS, SWEEP_SECONDS, Deployment
from durability.operations import JsonObject, Operation, Outcome
from harness.event_stream import TERMINAL, check_stream, read_frames

PATIENCE = LEASE_SECONDS + SWEEP_SECONDS + 20
"""Seconds that anything may be locked or away: a lease, a sweep, and the start of a server on a busy machine."""

_BACK_OFF = (0.02, 0.2)
_NOTHING_STORED = "Please retry"
"""Whoever is told so, and does, must not have done it twice."""

_UNCERTAIN = frozenset({500, 503})
"""Statuses that say nothing about what was stored, unless the message does."""


@dataclass(frozen=True)
class Request:
    """What is sent. ``leave_after``: hang up after so many events of the stream."""

    method: str
    path: str
    body: JsonObject | None = None
    leave_after: int | None = None

    @property
    def streamed(self) -> bool:
        """Whether the answer is a stream."""
        return bool(self.body and self.body.get("stream"))


class Sender:
    """One client's connections; requests go to any server that seems to be up."""

    def __init__(self, http: httpx2.AsyncClient, deployment: Deployment, chance: random.Random) -> None:
        self._http, self._deployment, self._chance = http, deployment, chance

    async def send(self, operation: Operation, request: Request, patience: float = PATIENCE) -> None:
        """Send, and again while it was refused for now; with a key also when nobody knows what became of it."""
        operation.began = operation.began or time.monotonic()
        async for last in self._tries(patience):
            outcome, again = await self._attempt(operation, request)
            operation.attempts += 1
            operation.outcome = _total(operation.outcome, outcome)
            if operation.done:
                operation.ended = time.monotonic()
            if last or not again:
                return

    async def _tries(self, patience: float) -> AsyncIterator[bool]:
        """As many as there is time for; whether it is the last one. Time in which no server is up does not count."""
        while True:
            await self._deployment.serving()
            began = time.monotonic()
            yield patience < 0
            await asyncio.sleep(self._chance.uniform(*_BACK_OFF))
            patience -= time.monotonic() - began

    async def get(self, path: str, **query: object) -> Any:
        """What a GET says, from whichever server serves; tried again until one does."""
        async for last in self._tries(PATIENCE):
            with suppress(httpx2.TransportError):
                answer = await self._http.get(self._url() + path, params=query)
                if answer.status_code < 500:
                    return answer
            if last:
                break
        raise AssertionError(f"GET {path} is not answered")

    def _url(self) -> str:
        """The base URL of any server. Errors: ``ConnectError`` when none is up."""
        urls = self._deployment.urls()
        if not urls:
            raise httpx2.ConnectError("no server is up")
        return self._chance.choice(urls)

    async def _attempt(self, operation: Operation, request: Request) -> tuple[Outcome, bool]:
        """What became of it now, and whether it is to be sent again."""
        headers = {"idempotency-key": operation.marker} if operation.keyed else {}
        try:
            url = self._url() + request.path
            if request.streamed:
                return await self._stream(operation, request, url, headers)
            answer = await self._http.request(request.method, url, json=request.body, headers=headers)
        except httpx2.ConnectError:
            operation.statuses.append("no connection")
            return Outcome.REFUSED, True
        except httpx2.TransportError as error:
            operation.statuses.append(type(error).__name__)
            return Outcome.UNKNOWN, operation.keyed
        return _answered(operation, answer)

    async def _stream(
        self, operation: Operation, request: Request, url: str, headers: dict[str, str]
    ) -> tuple[Outcome, bool]:
        received = b""
        async with self._http.stream(request.method, url, json=request.body, headers=headers) as answer:
            if answer.status_code != 200:
                await answer.aread()
                return _answered(operation, answer)
            operation.statuses.append("200")
            try:
                async for received in _growing(answer):
                    if request.leave_after is not None and received.count(b"\n\n") >= request.leave_after:
                        operation.statuses.append("left")
                        return _told(operation, received)[0], False
            except httpx2.TransportError as error:
                operation.statuses.append(type(error).__name__)
        return _told(operation, received)


async def _growing(answer: httpx2.Response) -> AsyncIterator[bytes]:
    received = b""
    async for data in answer.aiter_raw():
        received += data
        yield received


def begun_anew(events: Sequence[JsonObject]) -> bool:
    """Whether it is the stream of a job that was given up and begun anew: numbers are left out behind its beginning."""
    types, third = [event["type"] for event in events[:3]], events[2:3]
    return types[1:2] == ["response.queued"] and any(event.get("sequence_number", 0) > 2 for event in third)


def _total(before: Outcome, now: Outcome) -> Outcome:
    """Of several attempts: what was acknowledged is done, and what may have been done is unknown."""
    for outcome in (Outcome.DONE, Outcome.UNKNOWN):
        if outcome in (before, now):
            return outcome
    return Outcome.REFUSED


def _answered(operation: Operation, answer: httpx2.Response) -> tuple[Outcome, bool]:
    operation.statuses.append(str(answer.status_code))
    if answer.status_code == 200:
        operation.answer = answer.json()
        return Outcome.DONE, False
    error = answer.json()["error"]
    operation.statuses[-1] += f" {error['message']}"
    if answer.status_code in _UNCERTAIN and _NOTHING_STORED not in error["message"]:
        return Outcome.UNKNOWN, operation.keyed
    again = answer.status_code in (429, 503) or answer.headers.get("x-should-retry") == "true"
    return Outcome.REFUSED, again


def _told(operation: Operation, received: bytes) -> tuple[Outcome, bool]:
    """What a stream that has ended, or broke off, had told by then."""
    events = read_frames(received[: received.rfind(b"\n\n") + 2] if b"\n\n" in received else b"")
    numbers = [event["sequence_number"] for event in events if "sequence_number" in event]
    skipped = numbers[2] - 2 if begun_anew(events) else 0
    if numbers != [*range(2), *range(2 + skipped, len(numbers) + skipped)][: len(numbers)]:
        operation.faults.append(f"events are numbered {numbers}")
    if events and events[0]["type"] == "response.created":
        operation.shown = events[0]["response"]["id"]
    if not events or events[-1]["type"] not in TERMINAL:
        return Outcome.UNKNOWN, operation.keyed
    response = operation.answer = events[-1]["response"]
    try:
        if response["status"] == "completed" or not response["background"]:  # a job may fail before it begins
            check_stream(events, begun_anew=begun_anew(events))
    except AssertionError as error:
        operation.faults.append(f"a stream that is none: {error}")
    return Outcome.DONE, False
