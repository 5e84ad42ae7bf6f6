"""What goes wrong between us and a tool server, in words."""

from __future__ import annotations

import secrets
import ssl
from http import HTTPStatus

import httpcore2

from llama_conversations.errors import StackError, ToolFailed
from llama_conversations_providers.tool_runtime.mcp.config import Timeouts
from llama_conversations_providers.tool_runtime.mcp.network import UnknownHost
from llama_conversations_providers.tool_runtime.mcp.peer import Peer

CUT_OFF = "the connection ended before a whole answer had come"
NOT_OF_THE_PROTOCOL = "its answer is not of the Model Context Protocol"

FAULTS = (
    StackError,
    UnknownHost,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
)
"""What a request can end in instead of an answer."""


class Refused(ToolFailed):
    """The server answered with a status that says no."""


def in_words(fault: Exception, peer: Peer, timeouts: Timeouts) -> StackError:
    """The error for one of ``FAULTS``."""
    match fault:
        case StackError():
            return fault
        case UnknownHost():
            message = "its host name cannot be resolved"
        case httpcore2.ConnectTimeout():
            message = f"no connection within {timeouts.connect_seconds:g} seconds"
        case httpcore2.TimeoutException():
            message = f"silent for {timeouts.read_seconds:g} seconds"
        case httpcore2.ConnectError(__context__=ssl.SSLCertVerificationError()):
            message = "its certificate cannot be verified"
        case httpcore2.ConnectError(__context__=ssl.SSLError()):
            message = "no TLS connection could be made"
        case httpcore2.ConnectError():
            message = "no connection could be made"
        case httpcore2.LocalProtocolError():
            message = "a header for it cannot be sent"
        case httpcore2.RemoteProtocolError():
            message = f"{CUT_OFF}, or what came is not HTTP"
        case _:
            message = CUT_OFF
    return peer.failed(message)


def refusal(peer: Peer, status: int) -> Refused:
    """The error for an HTTP status that is no success and came without an error of the protocol."""
    try:
        phrase = f" ({HTTPStatus(status).phrase})"
    except ValueError:
        phrase = ""
    return Refused(peer.label, f"it answered with status {status}{phrase}")


class FaultBox:
    """Carries faults through machinery that only hands on texts: each gets a token that brings it back."""

    def __init__(self) -> None:
        self._kept: dict[str, StackError] = {}

    def keep(self, fault: StackError) -> str:
        """A token that nobody else can know."""
        token = secrets.token_hex(16)
        self._kept[token] = fault
        return token

    def take(self, text: str) -> StackError | None:
        """The fault whose token stands in the text."""
        for token in self._kept:
            if token in text:
                return self._kept.pop(token)
        return None
