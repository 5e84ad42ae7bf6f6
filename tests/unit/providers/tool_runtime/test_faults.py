"""What goes wrong below the protocol, in words."""

from __future__ import annotations

import ssl

import httpcore2
import pytest

from llama_conversations.errors import ToolServerForbidden
from llama_conversations_providers.tool_runtime.mcp.config import Timeouts
from llama_conversations_providers.tool_runtime.mcp.faults import CUT_OFF, FaultBox, in_words
from llama_conversations_providers.tool_runtime.mcp.network import UnknownHost
from llama_conversations_providers.tool_runtime.mcp.peer import Peer

PEER = Peer("x")


def after(cause: Exception) -> httpcore2.ConnectError:
    error = httpcore2.ConnectError("secret.example")
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (UnknownHost("secret.example"), "its host name cannot be resolved"),
        (httpcore2.ConnectTimeout("secret.example"), "no connection within 5 seconds"),
        (httpcore2.ReadTimeout("secret.example"), "silent for 60 seconds"),
        (httpcore2.WriteTimeout("secret.example"), "silent for 60 seconds"),
        (after(ssl.SSLCertVerificationError()), "its certificate cannot be verified"),
        (after(ssl.SSLError()), "no TLS connection could be made"),
        (after(OSError("secret.example")), "no connection could be made"),
        (httpcore2.LocalProtocolError("secret.example"), "a header for it cannot be sent"),
        (httpcore2.RemoteProtocolError("secret.example"), f"{CUT_OFF}, or what came is not HTTP"),
        (httpcore2.ReadError("secret.example"), CUT_OFF),
        (httpcore2.WriteError("secret.example"), CUT_OFF),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_fault_has_words_of_its_own_and_none_of_the_systems(fault: Exception, words: str) -> None:
    assert str(in_words(fault, PEER, Timeouts())) == f"Tool server 'x': {words}"


def test_what_is_an_error_already_stays_as_it_is() -> None:
    error = ToolServerForbidden("x", "no")
    assert in_words(error, PEER, Timeouts()) is error


def test_a_kept_fault_comes_back_once_and_to_its_token_alone() -> None:
    box = FaultBox()
    first, second = ToolServerForbidden("x", "first"), ToolServerForbidden("x", "second")
    token = box.keep(first)
    other = box.keep(second)
    assert box.take("something else") is None
    assert box.take(f"SSE stream failed: {token}") is first
    assert box.take(token) is None
    assert box.take(other) is second
