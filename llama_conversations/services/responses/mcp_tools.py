"""Tools of MCP servers within a turn: sessions with their servers, which of them count, and how they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import cast

from llama_conversations.apis.tools import ToolDefinition, ToolSession
from llama_conversations.errors import StackError
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import JsonObject
from llama_conversations.wire.items import McpListTools
from llama_conversations.wire.tools import McpApproval, McpServerTool, McpToolFilter


class LazySession:
    """A session with a tool server, opened once, when it is first needed; a server that failed is not asked again."""

    def __init__(self, opening: AbstractAsyncContextManager[ToolSession]) -> None:
        self._opening = opening
        self._lock = asyncio.Lock()
        self._session: ToolSession | None = None
        self._failure: StackError | None = None

    async def get(self) -> ToolSession:
        """The open session. Errors: ``ToolFailed``, ``ToolServerForbidden``."""
        async with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._session is None:
                try:
                    self._session = await self._opening.__aenter__()
                except StackError as error:
                    self._failure = error
                    raise
            return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._opening.__aexit__(None, None, None)


@dataclass(frozen=True, slots=True)
class McpTool:
    """A tool of an MCP server, under the name that the model is given."""

    tool: McpServerTool
    definition: ToolDefinition

    @property
    def needs_leave(self) -> bool:
        """Whether the client must agree to a call (the default)."""
        rule = self.tool.require_approval
        if isinstance(rule, McpApproval):
            if rule.never is not None and matches(rule.never, self.definition):
                return False
            return rule.always is None or matches(rule.always, self.definition)
        return rule != "never"

    def offered(self, name: str) -> JsonObject:
        """The tool as chat completions name it."""
        descriptions = (self.definition.description, self.tool.server_description)
        description = "\n\n".join(text for text in descriptions if text)
        return function_tool(name, description, dict(self.definition.input_schema))


def lists_enough(known: McpListTools, tool: McpServerTool) -> bool:
    """Whether an earlier list has the tools that the request names now: it may have been made for others."""
    rule = tool.allowed_tools
    names = rule.tool_names if isinstance(rule, McpToolFilter) else rule
    return names is None or set(names) <= {known_tool.name for known_tool in known.tools}


def is_allowed(tool: McpServerTool, definition: ToolDefinition) -> bool:
    """Whether the request lets a tool of its server be used."""
    if isinstance(tool.allowed_tools, McpToolFilter):
        return matches(tool.allowed_tools, definition)
    return tool.allowed_tools is None or definition.name in tool.allowed_tools


def matches(rule: McpToolFilter, definition: ToolDefinition) -> bool:
    """Whether a filter names a tool."""
    named = rule.tool_names is None or definition.name in rule.tool_names
    return named and (rule.read_only is None or rule.read_only == definition.read_only)


def definition_of(listed: Mapping[str, object]) -> ToolDefinition:
    """A tool as an ``mcp_list_tools`` item has it."""
    return ToolDefinition(
        name=cast("str", listed["name"]),
        description=cast("str | None", listed.get("description")),
        input_schema=cast("Mapping[str, JsonValue]", listed["input_schema"]),
        annotations=cast("Mapping[str, JsonValue] | None", listed.get("annotations")),
    )


def listed(definition: ToolDefinition) -> JsonObject:
    """A tool as an ``mcp_list_tools`` item shows it."""
    listed: JsonObject = {"name": definition.name, "input_schema": dict(definition.input_schema)}
    if definition.description is not None:
        listed["description"] = definition.description
    if definition.annotations is not None:
        listed["annotations"] = dict(definition.annotations)
    return listed


def function_tool(name: str, description: str | None, parameters: JsonObject) -> JsonObject:
    """A function as chat completions offer it."""
    function: JsonObject = {"name": name, "parameters": parameters}
    if description:
        function["description"] = description
    return {"type": "function", "function": function}
