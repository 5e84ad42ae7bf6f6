"""What a failed response says about its error (OpenAI API reference, ``ResponseError``)."""

from __future__ import annotations

from collections.abc import Mapping

from llama_conversations import errors

INTERNAL = "The server had an error while processing your request."

_CODES: Mapping[type[BaseException], str] = {
    errors.UpstreamRateLimited: "rate_limit_exceeded",
    errors.UpstreamRejected: "invalid_prompt",
    errors.RequestError: "invalid_prompt",
    errors.UpstreamError: "server_error",
    errors.TurnLost: "server_error",
    errors.Overloaded: "server_error",
    errors.ShuttingDown: "server_error",
}


def failure_of(error: BaseException) -> tuple[str, str]:
    """Code and message of the ``error`` object of a response that failed by this error.

    An upstream's ``insufficient_quota`` is passed on as it is: the API sends it, though its reference does not list it.
    What is not meant for the caller's eyes becomes a plain ``server_error``.
    """
    if isinstance(error, errors.UpstreamRateLimited) and error.code == "insufficient_quota":
        return error.code, str(error)
    for cls in type(error).__mro__:
        if cls in _CODES:
            return _CODES[cls], str(error)
    return "server_error", INTERNAL
