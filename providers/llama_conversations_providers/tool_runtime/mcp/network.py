"""Connections that are made to checked addresses only.

A name is looked up here, each of its addresses is checked, and the connection goes to one that passed: nobody looks the
name up a second time and gets another answer (DNS rebinding). Everything above, the ``Host`` header and the TLS
handshake with its certificate, still speaks of the name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address

import httpcore2

from llama_conversations.errors import ToolServerForbidden
from llama_conversations_providers.tool_runtime.mcp.addresses import IPAddress, read_host
from llama_conversations_providers.tool_runtime.mcp.admission import Admission

Resolve = Callable[[str], Awaitable[Sequence[IPAddress]]]
"""From a name to its addresses, the best first. Raises ``OSError``."""


class UnknownHost(Exception):
    """The name has no addresses."""


class CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """What a connection pool connects with.

    Args:
        admission: Says which addresses are let through.
        resolve: Looks names up.
    """

    def __init__(self, admission: Admission, resolve: Resolve) -> None:
        self._admission, self._resolve = admission, resolve
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 the pool's protocol
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect within ``timeout`` seconds, name resolution included.

        Errors: ``errors.ToolServerForbidden``, ``UnknownHost``, ``httpcore2.ConnectError`` and ``ConnectTimeout``.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await admitted_addresses(host, self._admission, self._resolve)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout from error
        for place, address in enumerate(addresses):
            left = None if deadline is None else (deadline - loop.time()) / (len(addresses) - place)
            try:
                return await self._sockets.connect_tcp(str(address), port, left, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if place == len(addresses) - 1:
                    raise
        raise UnknownHost


async def admitted_addresses(host: str, admission: Admission, resolve: Resolve) -> Sequence[IPAddress]:
    """Those of a host's addresses that pass.

    Errors: ``errors.ToolServerForbidden``, the first refusal, if none does; ``UnknownHost``.
    """
    try:
        meant = read_host(host)
        found = await resolve(meant) if isinstance(meant, str) else [meant]
    except (OSError, ValueError) as error:
        raise UnknownHost from error
    admitted: list[IPAddress] = []
    refusal: ToolServerForbidden | None = None
    for address in dict.fromkeys(found):
        try:
            admission.check_address(address)
        except ToolServerForbidden as error:
            refusal = refusal or error
        else:
            admitted.append(address)
    if refusal is not None and not admitted:
        raise refusal
    return admitted


async def resolve_name(name: str) -> Sequence[IPAddress]:
    """The system's resolver, without keeping the event loop waiting."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    # a scope (``fe80::1%eth0``) belongs to link-local addresses alone, which nobody is let to by name
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
