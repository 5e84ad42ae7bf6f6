"""What every answer of the server must look like, whatever it says."""

from __future__ import annotations

import json
from typing import Any

import httpx2

ENVELOPE = {"message", "type", "param", "code"}
LEAKS = ("Traceback", "sqlite", "SELECT", "INSERT", "conversation_items", "next_position", "pydantic", "object at 0x",
         "<class", "NoneType", "\x1f")  # fmt: skip
"""Words by which the inside of a server shows in a message."""


def ok(response: httpx2.Response) -> Any:
    """The JSON of a success."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"].startswith("req_")
    return response.json()


def refused(
    response: httpx2.Response,
    status: int,
    code: str | None = None,
    param: str | None = None,
    kind: str = "invalid_request_error",
) -> str:
    """The message of an error, after looking at all else that an error has."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"].startswith("req_")
    message = envelope(response.content)["message"]
    error = response.json()["error"]
    assert (error["type"], error["code"], error["param"]) == (kind, code, param), error
    return message


def envelope(body: bytes) -> dict[str, Any]:
    """The ``error`` of a body that is an error's envelope and nothing else."""
    document = json.loads(body)
    assert document.keys() == {"error"}
    error: dict[str, Any] = document["error"]
    assert error.keys() == ENVELOPE
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert not [word for word in LEAKS if word in error["message"]], error["message"]
    return error
