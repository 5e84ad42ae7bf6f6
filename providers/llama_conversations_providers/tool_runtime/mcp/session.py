"""A session with an MCP server: its tools, and calls of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, ListToolsResult, PaginatedRequestParams, Tool
from mcp.types.jsonrpc import CONNECTION_CLOSED, HEADER_MISMATCH, PARSE_ERROR
from pydantic import ValidationError

from llama_conversations.apis.tools import ToolDefinition, ToolResult, ToolSession
from llama_conversations.errors import StackError, ToolServerForbidden
from llama_conversations.wire.base import JsonValue
from llama_conversations_providers.tool_runtime.mcp.connection import Connection, ConnectionLost
from llama_conversations_providers.tool_runtime.mcp.faults import (
    CUT_OFF,
    NOT_OF_THE_PROTOCOL,
    FaultBox,
    Refused,
)
from llama_conversations_providers.tool_runtime.mcp.peer import Peer
from llama_conversations_providers.tool_runtime.mcp.results import definition_of, result_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a server's answers are taken.

    Attributes:
        peer: Words its errors.
        faults: Those that the transport met.
        call_seconds: For a whole call, or the whole list of tools.
        max_tools: How many it may have.
        max_list_bytes: How long their list may be.
        max_characters: How much of a call's answer is kept.
    """

    peer: Peer
    faults: FaultBox
    call_seconds: float
    max_tools: int
    max_list_bytes: int
    max_characters: int


async def shake_hands(session: ClientSession, faults: FaultBox) -> None:
    """Open a session in the newest way that the server knows.

    Since 2026-07-28 that is one question (``server/discover``); a server that does not know it gets the handshake of
    the versions before (``initialize``).

    Errors: ``errors.StackError`` for a fault below the protocol; those of ``ClientSession.initialize``.
    """
    try:
        await session.discover()
    except MCPError as error:
        fault = faults.take(error.message)
        if fault is not None and not isinstance(fault, Refused):
            raise fault from error
    except (RuntimeError, ValidationError):
        pass  # it answers the question, and names none of the versions that it is about
    else:
        return
    await session.initialize()


class McpSession(ToolSession):
    """One session; see ``ToolSession``. Of use in any task, in several at once too."""

    def __init__(self, connection: Connection, conduct: Conduct) -> None:
        self._connection, self._conduct = connection, conduct

    async def list_tools(self) -> Sequence[ToolDefinition]:
        """All pages."""
        tools = await self._run(self._list_all)
        return [definition_of(tool) for tool in tools]

    async def call_tool(self, name: str, arguments: Mapping[str, JsonValue]) -> ToolResult:
        """Text parts as they are, other parts described; structured content as JSON where there is no text.

        A server that asks for something in return (a sample, a user's input) is told that it cannot have it.
        """

        async def call(session: ClientSession) -> CallToolResult:
            return await self._call(session, name, dict(arguments))

        return result_of(await self._run(call), self._conduct.max_characters)

    async def _call(self, session: ClientSession, name: str, arguments: dict[str, JsonValue]) -> CallToolResult:
        try:
            result = await session.call_tool(name, arguments, allow_input_required=True)
        except MCPError as error:
            if error.code != HEADER_MISMATCH:
                raise
            await self._list_all(session)  # it tells which arguments have to go into headers, too (SEP-2243)
            result = await session.call_tool(name, arguments, allow_input_required=True)
        if not isinstance(result, CallToolResult):
            raise self._conduct.peer.failed("the tool asks for input, which nobody here can give")
        return result

    async def _list_all(self, session: ClientSession) -> Sequence[Tool]:
        listing = _Listing(self._conduct)
        cursor: str | None = None
        while True:
            page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor) if cursor else None)
            cursor = listing.add(page)
            if cursor is None:
                return listing.tools

    async def _run(self, work: Callable[[ClientSession], Coroutine[object, object, T]]) -> T:
        seconds = self._conduct.call_seconds
        try:
            return await self._connection.run(work, seconds)
        except TimeoutError:
            raise self._conduct.peer.failed(f"no answer within {seconds:g} seconds") from None
        except SESSION_FAULTS as error:
            fault = told(error, self._conduct)
            if isinstance(fault, ToolServerForbidden):  # a name that led elsewhere when the session was opened
                fault = self._conduct.peer.failed(f"its address is not allowed: {fault.reason}")
            raise fault from error


class _Listing:
    """A list of tools while its pages come in, kept within bounds."""

    def __init__(self, conduct: Conduct) -> None:
        self._conduct = conduct
        self._cursors: set[str] = set()
        self._size = 0
        self.tools: list[Tool] = []

    def add(self, page: ListToolsResult) -> str | None:
        """Take a page; the next one's cursor. Errors: ``errors.ToolFailed`` for a list that is too long."""
        peer, cursor = self._conduct.peer, page.next_cursor
        self.tools += page.tools
        self._size += len(page.model_dump_json())
        if len(self.tools) > self._conduct.max_tools or len(self._cursors) > self._conduct.max_tools:
            raise peer.failed(f"it has more than {self._conduct.max_tools} tools")
        if self._size > self._conduct.max_list_bytes:
            raise peer.failed(f"its list of tools is longer than {self._conduct.max_list_bytes} bytes")
        if cursor in self._cursors:
            raise peer.failed("its list of tools has no end")
        if cursor is not None:
            self._cursors.add(cursor)
        return cursor


SESSION_FAULTS = (ConnectionLost, MCPError, ValidationError)
"""What asking the server for something can end in."""

_CUT_OFF = {
    "Connection closed",
    "SSE stream ended without a response",
    "SSE stream ended and reconnection attempts were exhausted",
}
_UNREADABLE = "Failed to parse"
"""The client's own words, where a server's could stand; what it says otherwise is passed on as the server's."""


def told(error: Exception, conduct: Conduct) -> StackError:
    """The error for one of ``SESSION_FAULTS``: a fault that the transport met, or the server's own words."""
    peer = conduct.peer
    match error:
        case ConnectionLost():
            return peer.failed("the connection to it was closed")
        case MCPError():
            fault = conduct.faults.take(error.message)
            if fault is not None:
                return fault
            if error.code == CONNECTION_CLOSED and error.message in _CUT_OFF:
                return peer.failed(CUT_OFF)
            if error.code == PARSE_ERROR and error.message.startswith(_UNREADABLE):
                return peer.failed(NOT_OF_THE_PROTOCOL)
            return peer.complained(error.message, error.code)
        case _:
            return peer.failed(NOT_OF_THE_PROTOCOL)
