"""Turns over one connection, which remembers what was not stored, so that it can be continued there.

The messages, their events and what is remembered of them are those of the OpenAI API guide, WebSocket mode.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from llama_conversations.apis.channels import Asked, Channel
from llama_conversations.errors import InvalidParameter, UnsupportedParameter
from llama_conversations.services.responses.engine import RunningTurn
from llama_conversations.services.responses.runner import TurnRunner, padding_of
from llama_conversations.storage.records import ItemRecord
from llama_conversations.wire.connections import MessageWriter, steer_failed
from llama_conversations.wire.responses import CreateResponse
from llama_conversations.wire.validation import parse_json, parse_object

CREATE, STEER = "response.create", "response.steer"

_ENVELOPE = ("type", "stream_id", "generate", "stream")
"""Keys of a message that are not the turn's: it always streams, whatever ``stream`` says."""

_LANE = re.compile(r"[A-Za-z0-9_.-]{1,256}")


@dataclass(frozen=True, slots=True)
class _Remembered:
    """A response that was not stored, with all items of its context, its output included."""

    response_id: str
    context: Sequence[ItemRecord]


class BeginTurn(Protocol):
    """Makes turns."""

    def __call__(
        self, request: CreateResponse, remembered: Sequence[ItemRecord] | None, *, generate: bool
    ) -> Awaitable[RunningTurn]:
        """A turn that has not begun.

        Args:
            remembered: The context of the response that the turn continues, where that was not stored.
            generate: Whether the model is asked at all; otherwise the turn only prepares a context.

        Errors: those of ``Responses.create_response`` before the turn is claimed.
        """
        ...


class Connection(Channel):
    """Turns that one client asks for; of each lane the last response is kept in memory, if it was not stored."""

    def __init__(self, begin: BeginTurn, runner: TurnRunner) -> None:
        self._begin, self._runner = begin, runner
        self._last: dict[str | None, _Remembered] = {}

    def read(self, message: bytes) -> Asked:
        """See ``Channel``."""
        body = parse_json(message)
        if not isinstance(body, dict):
            raise InvalidParameter("Expected a JSON object as the message.", param=None, code="invalid_type")
        lane = body.get("stream_id")
        if lane is not None and not (isinstance(lane, str) and _LANE.fullmatch(lane)):
            raise InvalidParameter(
                "The 'stream_id' field must be a non-empty string with at most 256 characters and may only contain "
                "letters, numbers, underscores, hyphens, and periods.",
                param="stream_id",
                code="invalid_stream_id",
            )
        return Asked(lane, body)

    async def answer(self, asked: Asked) -> AsyncGenerator[bytes, None]:
        """See ``Channel``. A turn that is stored goes on when the generator is closed, any other is stopped."""
        kind = asked.body.get("type")
        if kind == STEER:
            yield steer_failed(asked.body)
            return
        if kind != CREATE:
            raise InvalidParameter(f"Invalid 'type'. Supported values are: '{CREATE}', '{STEER}'.", param="type")
        async with aclosing(self._turn(asked)) as events:
            async for event in events:
                yield event

    async def _turn(self, asked: Asked) -> AsyncGenerator[bytes, None]:
        settled = False
        try:
            running = await self._begun(asked)
            writer = MessageWriter(asked.lane, padding=padding_of(running.turn.request))
            async with aclosing(self._runner.stream(running, writer)) as batches:
                async for batch in batches:
                    if running.body and not settled:  # before the last event goes out: the client may act on it at once
                        self._settle(asked, running)
                        settled = True
                    for event in batch.splitlines():
                        yield event
        except Exception:
            if not settled:
                self._forget(asked)
            raise

    async def _begun(self, asked: Asked) -> RunningTurn:
        body = asked.body
        generate = body.get("generate")
        if generate is not None and not isinstance(generate, bool):
            raise InvalidParameter(
                "Invalid type for 'generate': expected a boolean.", param="generate", code="invalid_type"
            )
        turn = {key: value for key, value in body.items() if key not in _ENVELOPE}
        request = parse_object(CreateResponse, {**turn, "stream": True})
        if request.background:
            raise UnsupportedParameter("background", "'background' is not supported over a WebSocket.")
        return await self._begin(request, self._recall(request.previous_response_id), generate=generate is not False)

    def _recall(self, response_id: str | None) -> Sequence[ItemRecord] | None:
        found = (last.context for last in self._last.values() if last.response_id == response_id)
        return next(found, None)

    def _settle(self, asked: Asked, running: RunningTurn) -> None:
        """A turn has ended: its lane goes on from it; if it failed, nothing goes on from its parent."""
        if not running.context:
            self._forget(asked)
        elif running.turn.stored:
            self._last.pop(asked.lane, None)
        else:
            self._last[asked.lane] = _Remembered(running.turn.response_id, running.context)

    def _forget(self, asked: Asked) -> None:
        """What a turn of this lane could not continue is not continued any more; other lanes keep what they have."""
        last = self._last.get(asked.lane)
        if last is not None and last.response_id == asked.body.get("previous_response_id"):
            del self._last[asked.lane]
