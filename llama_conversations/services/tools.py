"""Tool servers that turns may use: groups that the operator registered, and servers that a caller names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from llama_conversations.apis.tools import ToolRuntime, ToolServer, ToolSession
from llama_conversations.apis.web_search import WebSearch
from llama_conversations.errors import InvalidParameter, UnsupportedParameter
from llama_conversations.services.searches import WebSearches
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.tools import McpServerTool, Tool


@dataclass(frozen=True)
class ToolGroup:
    """A group of run.yaml: which provider has it, and its settings in the form that the provider defines."""

    provider_id: str
    arguments: Mapping[str, JsonValue] = field(default_factory=dict)


class ToolServers:
    """Opens sessions with the servers that ``mcp`` tools name, and has the searches that ``web_search`` tools ask for.

    Args:
        runtimes: Tool runtimes by provider id; a live view, complete once the stack is open.
        groups: The registered groups, by the name that ``connector_id`` gives.
        searches: Providers of web searches by id; a live view, likewise.
    """

    def __init__(
        self,
        runtimes: Mapping[str, ToolRuntime],
        groups: Mapping[str, ToolGroup],
        searches: Mapping[str, WebSearch] | None = None,
    ) -> None:
        self._runtimes, self._groups = runtimes, groups
        self.searches = WebSearches({} if searches is None else searches)

    def check(self, tool: McpServerTool, param: str) -> None:
        """Refuse what no session can be opened for; ``param`` is the tool's place in the request.

        Errors: ``UnsupportedParameter``, ``InvalidParameter``.
        """
        if not self._runtimes:
            raise UnsupportedParameter(param, "Tools of type 'mcp' need a tool_runtime provider; this server has none.")
        if (tool.server_url is None) == (tool.connector_id is None):
            message = f"Exactly one of 'server_url' and 'connector_id' must be given for '{param}'."
            raise InvalidParameter(message, param=param, code="missing_required_parameter")
        if tool.connector_id is not None and tool.connector_id not in self._groups:
            known = ", ".join(sorted(self._groups)) or "none"
            message = f"Invalid value: '{tool.connector_id}'. Registered tool groups: {known}."
            raise InvalidParameter(message, param=f"{param}.connector_id")

    async def admit(self, tools: Sequence[Tool]) -> None:
        """Refuse what policy denies, before a turn begins. Errors: ``ToolServerForbidden``."""
        for tool in tools:
            if isinstance(tool, McpServerTool) and tool.connector_id is None:
                await self._callers_runtime().check_server(_server(tool))

    def session(self, tool: McpServerTool) -> AbstractAsyncContextManager[ToolSession]:
        """A session with the server of a checked tool. Errors: those of ``ToolRuntime``."""
        if tool.connector_id is not None:
            group = self._groups[tool.connector_id]
            return self._runtimes[group.provider_id].open_group(tool.connector_id, group.arguments)
        return self._callers_runtime().open_server(_server(tool))

    def _callers_runtime(self) -> ToolRuntime:
        """The one that is asked for servers that a caller names."""
        return next(iter(self._runtimes.values()))


def _server(tool: McpServerTool) -> ToolServer:
    return ToolServer(tool.server_label, tool.server_url or "", tool.headers or {}, tool.authorization)
