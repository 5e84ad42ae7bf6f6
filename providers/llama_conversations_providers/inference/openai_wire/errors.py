"""What a model server says when it refuses, in whichever of the usual shapes, as one of our ``UpstreamError``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from llama_conversations.errors import (
    UpstreamDenied,
    UpstreamError,
    UpstreamFailed,
    UpstreamModelNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimedOut,
)

MAX_MESSAGE = 2000
INSUFFICIENT_QUOTA = "insufficient_quota"

_STATUS_OF_WORD = {
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "BadRequestError": 400,
    "exceed_context_size_error": 400,
    "context_length_exceeded": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "NotFoundError": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    INSUFFICIENT_QUOTA: 429,
}
"""What a ``code`` or ``type`` means, where no status tells: of OpenAI's, vLLM's and llama.cpp's own."""

_CODE_OF_TYPE = {"exceed_context_size_error": "context_length_exceeded", INSUFFICIENT_QUOTA: INSUFFICIENT_QUOTA}
"""A ``type`` that says more than the ``code`` beside it, as the code that OpenAI has for it."""


_PLAIN: dict[int, tuple[type[UpstreamError], str]] = {
    401: (UpstreamDenied, "The model server refused this server's credentials (401)."),
    403: (UpstreamDenied, "The model server refused this server's credentials (403)."),
    404: (UpstreamModelNotFound, "The model server knows no such model or address (404)."),
    408: (UpstreamTimedOut, "The model server timed out (408)."),
}
"""Kinds that need no more than a message, and the message where the model server gives none. A refusal of credentials
keeps its own: what the model server says to it quotes the key."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """A model server's own words about what went wrong; ``status`` where the words themselves hold one."""

    message: str | None = None
    code: str | None = None
    param: str | None = None
    status: int | None = None


def read_complaint(value: object) -> Complaint | None:
    """The complaint in an error body; ``None`` when it is none.

    Shapes: OpenAI's ``{"error": {"message", "type", "param", "code"}}``, also in a list of one (Gemini); ``{"error":
    "text"}`` (Ollama); the inner object on top (vLLM of old, Mistral); ``{"detail": "text" | [{"loc", "msg"}]}``
    (FastAPI).
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, dict):
        return _read_object(error)
    if isinstance(error, str) and error:
        return replace(_read_object(value), message=error)
    if isinstance(value.get("message"), str | dict):
        return _read_object(value)
    if value.get("detail"):
        return Complaint(message=_text_of(value["detail"]))
    return None


def read_complaint_in_chunk(payload: bytes) -> Complaint | None:
    """The complaint that a stream's chunk holds beside, or instead of, its ``choices``."""
    try:
        chunk = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    if isinstance(chunk, dict) and (chunk.get("error") or chunk.get("object") == "error"):
        return read_complaint(chunk)
    return None


def _read_object(error: dict[str, object]) -> Complaint:
    code, kind, param = error.get("code"), error.get("type"), error.get("param")
    better_code = _CODE_OF_TYPE.get(kind) if isinstance(kind, str) else None
    return Complaint(
        message=_text_of(error.get("message")),
        code=code if isinstance(code, str) else better_code,
        param=param if isinstance(param, str) else None,
        status=_status_of(code) or _status_of(kind),
    )


def _status_of(word: object) -> int | None:
    if isinstance(word, str):
        return _STATUS_OF_WORD.get(word)
    return word if isinstance(word, int) and 400 <= word <= 599 else None


def _text_of(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, list):
        return "; ".join(text for part in value if (text := _text_of(part))) or None
    if isinstance(value, dict):
        for key in ("msg", "message", "detail"):
            if (text := _text_of(value.get(key))) is not None:
                return text
    return None


@dataclass(frozen=True, slots=True)
class ErrorWriter:
    """Makes a provider's errors, with nothing in them that the caller must not see.

    Attributes:
        provider_id: Whose errors.
        secrets: Texts that are struck out: keys, secret headers, the model server's address.
    """

    provider_id: str
    secrets: Sequence[str] = ()

    def refusal(self, status: int, body: bytes, retry_after: str | None) -> UpstreamError:
        """The error for an answer of ``status`` 400 or more."""
        try:
            complaint = read_complaint(orjson.loads(body))
        except orjson.JSONDecodeError:
            complaint = None
        return self.of_status(status, complaint or Complaint(), retry_after)

    def in_answer(self, complaint: Complaint) -> UpstreamError:
        """The error for a complaint that came in an answer of status 200."""
        return self.of_status(complaint.status or 500, complaint, None)

    def of_status(self, status: int, complaint: Complaint, retry_after: str | None) -> UpstreamError:
        """The error for a status and what was said beside it."""
        text = self._fit_for_the_caller(complaint.message)
        if complaint.code == "model_not_found":
            status = 404
        if status in {402, 429}:
            return self._rate_limited(status, text, complaint.code, retry_after)
        if status in _PLAIN:
            kind, fallback = _PLAIN[status]
            return kind(self.provider_id, fallback if kind is UpstreamDenied or text is None else text)
        if status < 500:
            fallback = f"The model server rejected the request ({status})."
            return UpstreamRejected(self.provider_id, text or fallback, code=complaint.code, param=complaint.param)
        return UpstreamFailed(self.provider_id, f"The model server failed ({status})" + (f": {text}" if text else "."))

    def _rate_limited(self, status: int, text: str | None, code: str | None, retry_after: str | None) -> UpstreamError:
        # 402 is how OpenRouter, DeepSeek and others say that the account is empty
        exhausted = status == 402 or code == INSUFFICIENT_QUOTA
        fallback = "account at the model server is exhausted" if exhausted else "model server's rate limit is reached"
        return UpstreamRateLimited(
            self.provider_id,
            text or f"The {fallback} ({status}).",
            retry_after=retry_after,
            code=INSUFFICIENT_QUOTA if exhausted else "rate_limit_exceeded",
        )

    def _fit_for_the_caller(self, text: str | None) -> str | None:
        if text is None:
            return None
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"
