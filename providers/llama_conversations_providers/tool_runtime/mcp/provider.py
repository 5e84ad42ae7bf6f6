"""A tool runtime whose tools are those of MCP servers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import httpcore2
import httpx2

from llama_conversations.apis.tools import ToolRuntime, ToolServer, ToolSession
from llama_conversations.config.findings import key_path_text
from llama_conversations.config.settings import parse_settings
from llama_conversations.errors import ConfigError, ConfigProblem, ShuttingDown, ToolFailed
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.catalog import Health
from llama_conversations_providers.tool_runtime.mcp.admission import Admission, Guarded, Trusted
from llama_conversations_providers.tool_runtime.mcp.config import GroupArguments, McpConfig
from llama_conversations_providers.tool_runtime.mcp.connection import Connection
from llama_conversations_providers.tool_runtime.mcp.faults import FaultBox
from llama_conversations_providers.tool_runtime.mcp.headers import credentials_in, request_headers
from llama_conversations_providers.tool_runtime.mcp.network import (
    CheckedNetwork,
    Resolve,
    UnknownHost,
    admitted_addresses,
    resolve_name,
)
from llama_conversations_providers.tool_runtime.mcp.peer import Peer
from llama_conversations_providers.tool_runtime.mcp.policy import AddressPolicy
from llama_conversations_providers.tool_runtime.mcp.quiet import install_filters
from llama_conversations_providers.tool_runtime.mcp.session import (
    SESSION_FAULTS,
    Conduct,
    McpSession,
    shake_hands,
    told,
)
from llama_conversations_providers.tool_runtime.mcp.transport import SessionTransport


def create(context: ProviderContext) -> McpToolRuntime:
    """The factory of ``inline::mcp``. Raises ``ConfigError`` for a ``ca_file`` that cannot be used."""
    config = context.config
    if not isinstance(config, McpConfig):
        raise TypeError(f"expected a McpConfig, got {type(config).__name__}")
    try:
        tls = ssl.create_default_context(cafile=config.ca_file) if config.ca_file else httpx2.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        problem = ConfigProblem("ca_file", f"'{config.ca_file}' cannot be used: {error.strerror or error}")
        raise ConfigError(f"provider '{context.provider_id}'", [problem]) from error
    return McpToolRuntime(config, tls)


@dataclass(frozen=True, slots=True)
class _Destination:
    """A server with everything that belongs to asking it."""

    peer: Peer
    url: httpx2.URL
    headers: Mapping[str, str]
    admission: Admission


class McpToolRuntime(ToolRuntime):
    """Sessions with MCP servers over streamable HTTP; see ``McpConfig`` for what can be set.

    A session may be opened, used and closed in different tasks, and used in several at once. Leaving its context does
    not wait for the server: that the session is over is told in the background, within two seconds.

    Args:
        config: Policy, time-outs, limits.
        tls: For every connection.
        resolve: Looks names up.
    """

    def __init__(self, config: McpConfig, tls: ssl.SSLContext, resolve: Resolve = resolve_name) -> None:
        self._config, self._tls, self._resolve = config, tls, resolve
        policy = config.policy
        self._policy = AddressPolicy(policy.allow, policy.deny, public=policy.public)
        self._connections: set[Connection] = set()
        self._is_open = False

    async def initialize(self) -> None:
        """Nothing is connected yet."""
        install_filters()
        self._is_open = True

    async def shutdown(self) -> None:
        """Close the sessions that are open; calls that wait in them fail."""
        self._is_open = False
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        await asyncio.gather(*(connection.wait_closed() for connection in connections))

    async def health(self) -> Health:
        """Whether sessions can be opened; how servers are is no concern of it."""
        return Health(status="ok") if self._is_open else Health(status="error", message="It is shut down.")

    async def check_server(self, server: ToolServer) -> None:
        """Whether policy allows a server that a caller named: its URL, and the addresses that its name has now.

        A name that cannot be looked up, or not in time, is no matter of policy: the session will fail.
        """
        peer = Peer(server.label)
        url = _callers_url(server, peer)
        admission = Guarded(self._policy, peer, url)
        with suppress(TimeoutError, UnknownHost):
            async with asyncio.timeout(self._config.timeouts.connect_seconds):
                await admitted_addresses(url.raw_host.decode("ascii"), admission, self._resolve)

    def open_server(self, server: ToolServer) -> AbstractAsyncContextManager[ToolSession]:
        """A session with a server that a caller named, if policy allows its address."""
        return self._session(partial(self._callers, server))

    def open_group(
        self, tool_group_id: str, arguments: Mapping[str, JsonValue]
    ) -> AbstractAsyncContextManager[ToolSession]:
        """A session with a server that the operator named; ``arguments`` are ``GroupArguments``."""
        return self._session(partial(_operators, tool_group_id, arguments))

    @asynccontextmanager
    async def _session(self, find: Callable[[], _Destination]) -> AsyncIterator[ToolSession]:
        if not self._is_open:
            raise ShuttingDown
        to = find()
        transport = self._transport(to)
        conduct = self._conduct(to.peer, transport.faults)
        connection = self._connect(to, transport)
        try:
            await self._open(connection, conduct)
            yield McpSession(connection, conduct)
        finally:
            connection.close()

    async def _open(self, connection: Connection, conduct: Conduct) -> None:
        seconds = self._config.timeouts.open_seconds
        try:
            await connection.open(seconds)
        except TimeoutError:
            raise conduct.peer.failed(f"no session within {seconds:g} seconds") from None
        except SESSION_FAULTS as error:
            raise told(error, conduct) from error
        except RuntimeError as error:
            raise conduct.peer.failed("it speaks no version of the protocol that is known here") from error

    def _connect(self, to: _Destination, transport: SessionTransport) -> Connection:
        timeouts = self._config.timeouts
        waits = httpx2.Timeout(timeouts.read_seconds, connect=timeouts.connect_seconds, pool=None)
        client = httpx2.AsyncClient(transport=transport, headers=to.headers, timeout=waits)
        connection = Connection(client, str(to.url), partial(shake_hands, faults=transport.faults))
        self._connections.add(connection)
        connection.on_closed(partial(self._connections.discard, connection))
        return connection

    def _transport(self, to: _Destination) -> SessionTransport:
        pool = httpcore2.AsyncConnectionPool(
            ssl_context=self._tls,
            max_connections=None,
            network_backend=CheckedNetwork(to.admission, self._resolve),
        )
        return SessionTransport(pool, to.admission, to.peer, self._config)

    def _conduct(self, peer: Peer, faults: FaultBox) -> Conduct:
        config = self._config
        return Conduct(
            peer,
            faults,
            config.timeouts.call_seconds,
            config.max_tools,
            config.max_response_bytes,
            config.max_result_characters,
        )

    def _callers(self, server: ToolServer) -> _Destination:
        """Errors: ``errors.ToolServerForbidden``; ``errors.ToolFailed`` for a header that cannot be sent."""
        headers = request_headers(server.label, server.headers, server.authorization)
        peer = Peer.at(server.label, server.url, credentials_in(headers))
        url = _callers_url(server, peer)
        return _Destination(peer, url, headers, Guarded(self._policy, peer, url))


def _callers_url(server: ToolServer, peer: Peer) -> httpx2.URL:
    """Errors: ``errors.ToolServerForbidden``."""
    try:
        return httpx2.URL(server.url)
    except httpx2.InvalidURL:
        raise peer.forbidden("it is no valid URL") from None


def _operators(tool_group_id: str, arguments: Mapping[str, JsonValue]) -> _Destination:
    """Errors: ``errors.ToolFailed`` for settings that are wrong."""
    given, findings = parse_settings(GroupArguments, dict(arguments))
    if given is None:
        wrong = ", ".join(key_path_text(finding.path) for finding in findings)  # not what stands there
        raise ToolFailed(tool_group_id, f"its settings in run.yaml are wrong: {wrong}")
    secret_headers = {name: value.get_secret_value() for name, value in given.headers.items()}
    token = given.authorization.get_secret_value() if given.authorization else None
    headers = request_headers(tool_group_id, secret_headers, token)
    peer = Peer.at(tool_group_id, given.server_url, credentials_in(headers))
    return _Destination(peer, httpx2.URL(given.server_url), headers, Trusted())
