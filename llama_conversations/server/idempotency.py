"""The ``Idempotency-Key`` header: what its requests are, how a route serves them, what is answered after a crash."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from pydantic_core import from_json

from llama_conversations.access import current_scope
from llama_conversations.apis.responses import Responses
from llama_conversations.errors import AnswerNotKept, InvalidParameter
from llama_conversations.server.errors import Refusal
from llama_conversations.server.exchange import Exchange
from llama_conversations.server.routes import Route
from llama_conversations.server.sse import error_frame
from llama_conversations.services.idempotency import KeyedRequest, Outcome, Recording, WholeAnswer
from llama_conversations.services.responses.retelling import retold
from llama_conversations.storage.records import TERMINAL, LostAnswer
from llama_conversations.wire.answers import EventStream, Json

__all__ = ["REPLAYED", "RouteWork", "key_of", "keyed_request"]

HEADER = "Idempotency-Key"
REPLAYED: Mapping[str, str] = {"idempotent-replayed": "true"}
"""Of an answer that was made for an earlier request with the same key."""

MAX_KEY_LENGTH = 255

POLL_SECONDS = 0.1
"""How often a response is looked at whose process died: it is failed by the next sweep."""

_FAILED_BEHIND = 424
_PASSING = frozenset({408, 409, 425, _FAILED_BEHIND, 429})
"""Refusals, beside those of 5xx, that may be none when the request is tried again."""


def key_of(exchange: Exchange) -> str | None:
    """The request's key, if it has one. Errors: ``InvalidParameter`` for what cannot be a key."""
    key = exchange.header(b"idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise InvalidParameter(
            f"Invalid '{HEADER}': expected 1 to {MAX_KEY_LENGTH} printable ASCII characters.", param=HEADER
        )
    return key


def keyed_request(exchange: Exchange, key: str, body: bytes) -> KeyedRequest:
    """The request as the caller's own: the same key of another caller is another key."""
    target = (exchange.method.encode(), exchange.raw_path, exchange.scope["query_string"])
    fingerprint = hashlib.sha256(b"%b %b?%b\n" % target)
    fingerprint.update(body)
    return KeyedRequest(current_scope(), key, fingerprint.hexdigest())


@dataclass(frozen=True)
class RouteWork:
    """A request as its route serves it; implements ``KeyedWork``.

    Attributes:
        segments: The texts of the path's parameters.
        refuse: From an error to the answer that it is; takes a note of it in the log.
        responses: Where a turn is found whose process died.
    """

    route: Route
    segments: Sequence[str]
    query_string: bytes
    body: bytes
    key: str
    refuse: Callable[[Exception], Refusal]
    responses: Responses | None

    async def run(self, recording: Recording) -> Outcome:
        """Call the route's implementation."""
        try:
            arguments = self.route.parameters.arguments(self.segments, self.query_string)
            if self.route.parameters.body is not None:
                arguments[self.route.parameters.body.name] = self.route.parameters.body.parse(self.body)
            answer = await self.route.call(**arguments)
            if isinstance(answer, Json):
                return Outcome(WholeAnswer(200, answer.body, answer.headers or {}))
            return await _recorded(answer, recording)
        except Exception as error:  # noqa: BLE001  (an answer like any other)
            return self._refused(error, recording)

    async def recover(self, lost: LostAnswer, recording: Recording) -> Outcome:
        """Answer with what came of the request; a turn that did not end is one that failed."""
        if lost.result is not None:
            return self._told(lost.result.encode(), recording)
        if lost.response_id is None or self.responses is None:
            raise AnswerNotKept(self.key)
        try:
            return await self._turn(self.responses, lost.response_id, recording)
        except Exception as error:  # noqa: BLE001  (as above)
            return self._refused(error, recording)

    async def _turn(self, responses: Responses, response_id: str, recording: Recording) -> Outcome:
        """A turn in the background goes on without its request, in whatever process; any other is waited for."""
        while True:
            answer = await responses.get_response(response_id)
            if not isinstance(answer, Json):
                raise TypeError("a response that is not asked for as a stream is one object")
            response = from_json(answer.body)
            if response["background"]:
                if not self._wants_stream:
                    return Outcome(WholeAnswer(200, answer.body))
                events = await responses.get_response(response_id, stream=True)
                if isinstance(events, EventStream):
                    return await _recorded(events, recording)
            if response["status"] in TERMINAL:
                return self._told(answer.body, recording)
            await asyncio.sleep(POLL_SECONDS)

    def _told(self, result: bytes, recording: Recording) -> Outcome:
        if not self._wants_stream:
            return Outcome(WholeAnswer(200, result))
        recording.add(retold(result))
        return Outcome(None)

    @property
    def _wants_stream(self) -> bool:
        return self.route.streams and from_json(self.body).get("stream") is True

    def _refused(self, error: Exception, recording: Recording) -> Outcome:
        refusal = self.refuse(error)
        if recording.streaming:
            recording.add(error_frame(refusal))
            return Outcome(None, final=False)
        return Outcome(WholeAnswer(refusal.status, refusal.body, refusal.headers or {}), final=_is_final(refusal))


async def _recorded(stream: EventStream, recording: Recording) -> Outcome:
    async with aclosing(stream.frames) as frames:
        async for frame in frames:
            recording.add(frame)
    return Outcome(None)


def _is_final(refusal: Refusal) -> bool:
    asks_to_retry = (refusal.headers or {}).get("x-should-retry") == "true"
    return refusal.status < 500 and refusal.status not in _PASSING and not asks_to_retry
