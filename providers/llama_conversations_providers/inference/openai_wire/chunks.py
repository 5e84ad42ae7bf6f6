"""The chunks of a streamed chat completion, cut out of the byte stream and looked at no closer than needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import orjson

from llama_conversations.errors import UpstreamDisconnected, UpstreamGarbled
from llama_conversations_providers.inference.openai_wire.errors import ErrorWriter, read_complaint_in_chunk
from llama_conversations_providers.inference.openai_wire.sse import EventParser, EventTooLong

_DONE = b"[DONE]"
_LAST_CHUNKS = 4
"""How far back a ``finish_reason`` is looked for when there is no ``[DONE]``: usage and timings may come after it."""


class ChunkReader:
    """One stream's state: what was read of it, and whether it is complete.

    Attributes:
        done: Whether the stream has ended as it should.
    """

    def __init__(self, errors: ErrorWriter) -> None:
        self._errors = errors
        self._events = EventParser()
        self._last: deque[bytes] = deque(maxlen=_LAST_CHUNKS)
        self.done = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The chunks that end within ``data``, each the bytes of a JSON object as far as its first and last show.

        Raises the ``UpstreamError`` that a chunk complains of, or ``UpstreamGarbled``, after the chunks before it.
        """
        try:
            payloads = self._events.feed(data)
        except EventTooLong as error:
            raise self._garbled() from error
        return self._checked(payloads)

    def end(self) -> Iterator[bytes]:
        """The chunk that the end of the stream completes, if any.

        Raises ``UpstreamDisconnected`` when there was neither ``[DONE]`` nor a ``finish_reason``.
        """
        yield from self._checked(self._events.close())
        if not any(_has_finish_reason(chunk) for chunk in self._last):
            raise UpstreamDisconnected(self._errors.provider_id, "The model server ended its answer halfway.")
        self.done = True

    def _checked(self, payloads: list[bytes]) -> Iterator[bytes]:
        for payload in payloads:
            if payload.startswith(b"{") and payload.endswith(b"}"):
                if b'"error"' in payload:
                    self._raise_complaint(payload)
                self._last.append(payload)
                yield payload
            elif payload == _DONE:
                self.done = True
                return
            elif payload.strip():
                raise self._garbled()

    def _raise_complaint(self, payload: bytes) -> None:
        complaint = read_complaint_in_chunk(payload)
        if complaint is not None:
            raise self._errors.in_answer(complaint)

    def _garbled(self) -> UpstreamGarbled:
        return UpstreamGarbled(self._errors.provider_id, "The model server's stream is not of chat completion chunks.")


def _has_finish_reason(payload: bytes) -> bool:
    try:
        chunk = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    choices = chunk.get("choices")
    return isinstance(choices, list) and any(isinstance(one, dict) and one.get("finish_reason") for one in choices)
