"""What can go wrong on the connection, as ``UpstreamError``: without the address, which the caller must not see."""

from __future__ import annotations

import aiohttp

from llama_conversations.errors import (
    UpstreamDisconnected,
    UpstreamError,
    UpstreamGarbled,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from llama_conversations.log import get_logger

log = get_logger(__name__)

FAULTS = (aiohttp.ClientError, TimeoutError)
"""All that aiohttp raises for what the other side does."""

UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
"""No connection was made, so nothing was sent."""


def translate(provider_id: str, fault: aiohttp.ClientError | TimeoutError) -> UpstreamError:
    """The error for a fault; its details go to the log."""
    log.debug("provider %s: %s: %s", provider_id, type(fault).__name__, fault)  # its repr would show the headers
    if isinstance(fault, aiohttp.ClientConnectorDNSError):
        return UpstreamUnreachable(provider_id, "The model server's name could not be resolved.")
    if isinstance(fault, aiohttp.ClientSSLError):
        return UpstreamUnreachable(provider_id, "No trusted TLS connection to the model server could be made.")
    if isinstance(fault, UNREACHABLE):
        return UpstreamUnreachable(provider_id, "The model server could not be reached.")
    if isinstance(fault, TimeoutError):
        return timed_out(provider_id)
    if isinstance(fault, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError):
        return UpstreamDisconnected(provider_id, "The model server closed the connection in mid-answer.")
    return UpstreamGarbled(provider_id, "The model server's answer is not HTTP as it should be.")


def timed_out(provider_id: str) -> UpstreamTimedOut:
    """The error for a model server that stays silent."""
    return UpstreamTimedOut(provider_id, "The model server did not answer in time.")
