"""The events of a streamed response, cut out of the byte stream and looked at no closer than needed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

from llama_conversations.errors import UpstreamDisconnected, UpstreamError, UpstreamGarbled
from llama_conversations_providers.inference.openai_wire.errors import ErrorWriter, read_complaint
from llama_conversations_providers.inference.openai_wire.sse import EventParser, EventTooLong

_MAYBE_LAST = re.compile(rb'"(?:response\.(?:completed|incomplete|failed)|error)"')
"""What the last event holds somewhere; whoever holds it is looked at closer."""

_LAST = ("response.completed", "response.incomplete")


class ResponseEventReader:
    """One stream's state: what was read of it, and whether it is complete.

    Attributes:
        done: Whether the stream has ended as it should.
    """

    def __init__(self, errors: ErrorWriter) -> None:
        self._errors = errors
        self._events = EventParser()
        self.done = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The events that end within ``data``, each the bytes of a JSON object as far as its first and last show.

        Raises the ``UpstreamError`` that an ``error`` or ``response.failed`` tells of, or ``UpstreamGarbled``, after
        the events before it.
        """
        try:
            payloads = self._events.feed(data)
        except EventTooLong as error:
            raise self._garbled() from error
        return self._checked(payloads)

    def end(self) -> Iterator[bytes]:
        """The event that the end of the stream completes, if any.

        Raises ``UpstreamDisconnected`` when it is not the last one of a response.
        """
        yield from self._checked(self._events.close())
        if not self.done:
            raise UpstreamDisconnected(self._errors.provider_id, "The model server ended its answer halfway.")

    def _checked(self, payloads: list[bytes]) -> Iterator[bytes]:
        for payload in payloads:
            if payload.startswith(b"{") and payload.endswith(b"}"):
                self.done = _MAYBE_LAST.search(payload) is not None and self._is_last(payload)
                yield payload
                if self.done:
                    return
            elif payload.strip() not in {b"", b"[DONE]"}:  # the latter ends chat completions, and says nothing here
                raise self._garbled()

    def _is_last(self, payload: bytes) -> bool:
        try:
            event = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise self._garbled() from error
        kind = event.get("type")
        if kind == "error":
            raise failure(self._errors, event)
        if kind == "response.failed":
            raise failure(self._errors, event.get("response"))
        return kind in _LAST

    def _garbled(self) -> UpstreamGarbled:
        return UpstreamGarbled(self._errors.provider_id, "The model server's stream is not of response events.")


def failure(errors: ErrorWriter, told: object) -> UpstreamError:
    """The error that an ``error`` event, or a response that failed, tells of."""
    complaint = read_complaint(told)
    if complaint is not None:
        return errors.in_answer(complaint)
    return UpstreamGarbled(errors.provider_id, "The model server's response failed without saying why.")
