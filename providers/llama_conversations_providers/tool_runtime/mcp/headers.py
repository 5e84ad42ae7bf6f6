"""The headers that a tool server is sent with every request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version

from llama_conversations.errors import ToolFailed

PRODUCT = "llama-conversations"
VERSION = version(PRODUCT)

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
_NOT_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, 5.5

_OURS = {
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""Headers that say how a request is sent, or to whom, and not what it means."""


def request_headers(label: str, given: Mapping[str, str], authorization: str | None) -> dict[str, str]:
    """All of them; ``authorization`` takes the place of a header of that name.

    Args:
        label: The server's name, for errors.
        given: From the request, or from run.yaml.
        authorization: A token, with or without the word ``Bearer``.

    Errors: ``errors.ToolFailed`` for a header that cannot be sent; never with its value.
    """
    headers = {
        "user-agent": f"{PRODUCT}/{VERSION}",
        "accept-encoding": "identity",  # so that the size of an answer is what it says
    }
    for name, value in given.items():
        if not _NAME.fullmatch(name) or name.lower() in _OURS:
            raise ToolFailed(label, f"the header {name[:100]!r} cannot be set")
        headers[name.lower()] = _checked(label, name, value)
    if authorization is not None:
        token = authorization if authorization.lower().startswith("bearer ") else f"Bearer {authorization}"
        headers["authorization"] = _checked(label, "authorization", token)
    return headers


def _checked(label: str, name: str, value: str) -> str:
    value = value.strip()
    if _NOT_IN_VALUES.search(value) or not value.isascii():
        raise ToolFailed(label, f"the value of the header {name!r} cannot be sent")
    return value


def credentials_in(headers: Mapping[str, str]) -> list[str]:
    """What of the headers may be secret: all values but our own, and the token by itself."""
    values = [value for name, value in headers.items() if name not in {"user-agent", "accept-encoding"}]
    return values + [value.partition(" ")[2] for value in values if value.lower().startswith("bearer ")]
