"""Events as messages of a WebSocket (OpenAI API reference, Responses WebSocket events)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from llama_conversations.wire.events import ErrorEvent, Event, EventWriter, Forwarded, JsonObject

_ERROR_TYPES = {"invalid_prompt": "invalid_request_error", "rate_limit_exceeded": "requests"}


class MessageWriter(EventWriter):
    """Writes each event as one line of JSON.

    Args:
        lane: Told with every event, if it has a name.
        padding: As of ``EventWriter``.
    """

    def __init__(self, lane: str | None, padding: Callable[[int], str] | None = None) -> None:
        super().__init__(0, padding)
        self._lane = b"" if lane is None else b',"stream_id":' + orjson.dumps(lane)

    def frame(self, event: Event) -> bytes:
        """The event; an error has its details in ``error``, as it has not among server-sent events."""
        if isinstance(event, ErrorEvent):
            kind = _ERROR_TYPES.get(event.code or "", "server_error")
            error: JsonObject = {"type": kind, "code": event.code, "message": event.message, "param": event.param}
            event = Forwarded(event.type, {"type": event.type, "error": error})
        return self.data(event)[:-1] + self._lane + b"}\n"


def refused(error: bytes, status: int, headers: Mapping[str, str] | None, lane: str | None) -> str:
    """The event that tells of an error outside of any response.

    Args:
        error: The body of the answer that the error would be over HTTP, ``{"error": {…}}``.
        headers: Of that answer, such as ``retry-after-ms``.
    """
    event: dict[str, object] = {"type": "error", "status": status, **orjson.loads(error)}
    if headers:
        event["error"] = {**orjson.loads(error)["error"], "headers": dict(headers)}
    if lane is not None:
        event["stream_id"] = lane
    return orjson.dumps(event).decode()


def steer_failed(body: Mapping[str, object]) -> bytes:
    """The event that gives back the input of a ``response.steer``: nothing here can be steered."""
    error = {
        "type": "invalid_request_error",
        "code": "steering_not_supported",
        "message": "Steering is not supported by this server. Send the input with the next response.create.",
    }
    steer = {"input": body.get("input"), "previous_response_id": body.get("previous_response_id")}
    return orjson.dumps({"type": "response.steer.failed", "error": error, "steer": steer, "sequence_number": 0})
