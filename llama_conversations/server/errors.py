"""Errors become HTTP answers here and nowhere else: one table from an error's class to status, type, code, param."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from llama_conversations import errors
from llama_conversations.apis.catalog import Models
from llama_conversations.apis.chat import ChatCompletions
from llama_conversations.apis.conversations import Conversations

__all__ = ["ErrorEnvelope", "Refusal", "refusal_of"]

E = TypeVar("E", bound=errors.StackError)

_INTERNAL = "The server had an error while processing your request. (Request id: {request_id})"
_NO_STORAGE = "The server cannot reach its database now. Please retry."
_RETRY = {"x-should-retry": "true", "retry-after-ms": "1000"}
_NO_RETRY = {"x-should-retry": "false"}
_SOON = {"retry-after": "1"}


class ErrorBody(BaseModel):
    """What went wrong; ``param`` is the path of the field in the request."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorBody


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as an HTTP answer.

    Attributes:
        message: What the caller reads; empty: the error's own words.
        expected: It is one of the foreseen errors; another one is a fault of this server's.
    """

    status: int
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] | None = None
    message: str = ""
    expected: bool = True

    @property
    def body(self) -> bytes:
        """The envelope, in ASCII, so that half a surrogate pair quoted from a request cannot spoil it."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return json.dumps({"error": error}).encode("ascii")


def refusal_of(error: BaseException, request_id: str, api: type | None = None) -> Refusal:
    """The answer to an error.

    Args:
        request_id: Quoted where the error itself is nobody's business but ours.
        api: The protocol whose method was asked; a few errors are answered differently by some APIs.
    """
    for cls in type(error).__mro__:
        row = _BY_API.get((cls, api)) or _TABLE.get(cls)
        if row is not None:
            refusal = row(error)
            return refusal if refusal.message else replace(refusal, message=str(error))
    return _server_error(500, message=_INTERNAL.format(request_id=request_id), expected=False)


def _server_error(
    status: int,
    headers: Mapping[str, str] | None = None,
    message: str = "",
    *,
    code: Literal["server_error"] = "server_error",
    expected: bool = True,
) -> Refusal:
    return Refusal(status, "server_error", code, headers=headers, message=message, expected=expected)


def _rate_limited(error: errors.UpstreamRateLimited) -> Refusal:
    headers = {}
    if error.retry_after is not None and error.retry_after.isascii() and error.retry_after.isprintable():
        headers["retry-after"] = error.retry_after
    if error.code == "insufficient_quota":
        return Refusal(429, error.code, error.code, headers=headers | _NO_RETRY)
    return Refusal(429, "requests", error.code, headers=headers)


Row = tuple[type[errors.StackError], Callable[[Any], Refusal]]


def _row(error_type: type[E], answer: Refusal | Callable[[E], Refusal]) -> Row:
    return (error_type, lambda _: answer) if isinstance(answer, Refusal) else (error_type, answer)


_TABLE: Mapping[type[BaseException], Callable[[Any], Refusal]] = dict(
    [
        _row(errors.RequestError, Refusal(400)),
        _row(errors.InvalidParameter, lambda e: Refusal(400, code=e.code, param=e.param)),
        _row(errors.UnsupportedParameter, lambda e: Refusal(400, code="unsupported_parameter", param=e.param)),
        _row(errors.UnstorableText, Refusal(400, code="invalid_value")),
        _row(errors.MutuallyExclusiveParameters, Refusal(400, code="mutually_exclusive_parameters")),
        _row(errors.NotFound, Refusal(404)),
        _row(errors.MethodNotAllowed, lambda e: Refusal(405, headers={"allow": ", ".join(e.allowed)})),
        _row(
            errors.PreviousResponseNotFound,
            Refusal(400, code="previous_response_not_found", param="previous_response_id"),
        ),
        _row(errors.ModelNotFound, Refusal(400, code="model_not_found", param="model")),
        _row(errors.CursorNotFound, lambda e: Refusal(400, code="invalid_value", param=e.param)),
        _row(errors.DuplicateItem, Refusal(400, param="input")),
        _row(
            errors.ConversationLocked,
            Refusal(400, code="conversation_locked", param="conversation", headers=_RETRY),
        ),
        _row(errors.IdempotencyKeyReused, Refusal(400, code="idempotency_key_reused", param="Idempotency-Key")),
        _row(errors.AnswerNotKept, Refusal(400, code="idempotent_answer_not_kept", param="Idempotency-Key")),
        _row(errors.RequestTooLarge, Refusal(413, code="request_too_large")),
        _row(errors.HeadTooLarge, Refusal(431)),
        _row(errors.OriginForbidden, Refusal(403)),
        _row(errors.HostForbidden, Refusal(403)),
        _row(errors.ToolServerForbidden, Refusal(400, param="tools")),
        _row(errors.TooManyMessages, Refusal(429, "requests", "rate_limit_exceeded")),
        _row(errors.TooManyLanes, Refusal(400, code="websocket_stream_limit_reached", param="stream_id")),
        _row(errors.ConnectionExpired, Refusal(400, code="websocket_connection_limit_reached")),
        _row(errors.UpstreamError, _server_error(502)),
        _row(errors.UpstreamRejected, lambda e: Refusal(400, code=e.code, param=e.param)),
        _row(errors.UpstreamDenied, Refusal(424, "upstream_error", "upstream_authentication_failed")),
        _row(errors.UpstreamModelNotFound, Refusal(400, code="model_not_found", param="model")),
        _row(errors.UpstreamRateLimited, _rate_limited),
        _row(errors.UpstreamUnreachable, _server_error(503, _SOON)),
        _row(errors.UpstreamTimedOut, _server_error(504)),
        _row(errors.UpstreamGarbled, _server_error(502, _NO_RETRY)),
        _row(errors.RecordingMissing, Refusal(424, "upstream_error", "recording_missing")),
        _row(errors.RecordingUnreadable, Refusal(424, "upstream_error", "recording_unreadable")),
        _row(errors.ToolFailed, Refusal(424, "external_connector_error", "http_error", "tools")),
        _row(errors.SearchFailed, Refusal(424, "external_connector_error", "http_error", "tools")),
        _row(errors.TurnLost, _server_error(500)),
        _row(errors.IdempotencyKeyLost, _server_error(503, _SOON)),
        _row(errors.Overloaded, _server_error(503, _SOON)),
        _row(errors.QueueFull, Refusal(429, "requests", "rate_limit_exceeded", headers=_SOON)),
        _row(errors.NotReady, _server_error(503, _SOON)),
        _row(errors.ShuttingDown, _server_error(503, _SOON)),
        _row(errors.OutcomeUnknown, _server_error(500, _NO_RETRY)),
        _row(errors.StorageUnavailable, _server_error(503, _SOON, _NO_STORAGE)),
    ]
)

_NO_SUCH_MODEL = Refusal(404, code="model_not_found")

_BY_API: Mapping[tuple[type[BaseException], type | None], Callable[[Any], Refusal]] = {
    (error_type, api): answer
    for api, (error_type, answer) in (
        (ChatCompletions, _row(errors.ModelNotFound, _NO_SUCH_MODEL)),
        (ChatCompletions, _row(errors.UpstreamModelNotFound, _NO_SUCH_MODEL)),
        (Models, _row(errors.ModelNotFound, _NO_SUCH_MODEL)),
        (Conversations, _row(errors.DuplicateItem, Refusal(400, param="items"))),
    )
}
"""What an API answers otherwise than the table says."""
