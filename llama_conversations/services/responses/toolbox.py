"""Everything that the model may call in one turn: whose call it is, and what the server's own tools answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from typing import Self, cast

from pydantic_core import from_json

from llama_conversations.apis.tools import ToolDefinition, ToolSession
from llama_conversations.errors import StackError, ToolFailed, ToolServerForbidden
from llama_conversations.services.responses.chat_parts import function_name
from llama_conversations.services.responses.output import Output, Place, client_function
from llama_conversations.services.responses.output_items import (
    ApprovalRequestItem,
    CustomCallItem,
    GrowingCall,
    ListToolsItem,
    McpCallItem,
)
from llama_conversations.services.tools import ToolServers
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import Event, JsonObject
from llama_conversations.wire.items import Item, McpApprovalRequest, McpApprovalResponse, McpCall, McpListTools
from llama_conversations.wire.tools import (
    AllowedTools,
    CustomTool,
    FunctionTool,
    McpApproval,
    McpChoice,
    McpServerTool,
    McpToolFilter,
    Tool,
    ToolChoiceObject,
    ToolMode,
)

_CUSTOM_INPUT: JsonObject = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
"""Chat completions know functions only: a custom tool is offered as one that takes its text as ``input``."""


class _Session:
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
class _McpTool:
    """A tool of an MCP server, under the name that the model is given."""

    tool: McpServerTool
    definition: ToolDefinition

    @property
    def needs_leave(self) -> bool:
        """Whether the client must agree to a call (the default)."""
        rule = self.tool.require_approval
        if isinstance(rule, McpApproval):
            if rule.never is not None and _matches(rule.never, self.definition):
                return False
            return rule.always is None or _matches(rule.always, self.definition)
        return rule != "never"


class Toolbox:
    """The tools of one turn. Close it (``async with``): it holds the sessions with tool servers.

    Args:
        tools: The request's tools, checked.
        servers: Who opens sessions.
    """

    def __init__(self, tools: Sequence[Tool], servers: ToolServers) -> None:
        self._functions: dict[str, FunctionTool | CustomTool] = {
            tool.name: tool for tool in tools if isinstance(tool, FunctionTool | CustomTool)
        }
        self._own = [tool for tool in tools if not isinstance(tool, McpServerTool)]
        self._servers = [tool for tool in tools if isinstance(tool, McpServerTool)]
        self._sessions = {tool.server_label: _Session(servers.session(tool)) for tool in self._servers}
        self._mcp: dict[str, _McpTool] = {}
        self._has_run = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()

    @property
    def has_servers(self) -> bool:
        """Whether any tool is the server's to run."""
        return bool(self._servers)

    def definitions(self) -> Sequence[JsonObject]:
        """The tools as chat completions name them, in a stable order."""
        return [*map(_offered, self._functions.values()), *(_offered_mcp(name, t) for name, t in self._mcp.items())]

    def upstream_tools(self) -> Sequence[JsonObject]:
        """The tools for an upstream that speaks the Responses API: its own as they came, the server's as functions."""
        own = [cast("JsonObject", tool.model_dump(exclude_unset=True)) for tool in self._own]
        return [*own, *(_flat(_offered_mcp(name, tool)) for name, tool in self._mcp.items())]

    def choice_now(self, choice: ToolMode | ToolChoiceObject | None) -> ToolMode | ToolChoiceObject | None:
        """The request's choice; once a tool of the server's has run, none has to be called any more, or none would end
        the turn."""
        if not self._has_run or choice in (None, "none"):
            return choice
        return choice.model_copy(update={"mode": "auto"}) if isinstance(choice, AllowedTools) else "auto"

    def upstream_choice(self, choice: ToolMode | ToolChoiceObject | None) -> JsonValue:
        """A choice among them."""
        choice = self.choice_now(choice)
        if isinstance(choice, McpChoice):
            name = self.names_of_server(choice.server_label).get(choice.name or "")
            return "required" if name is None else {"type": "function", "name": name}
        if choice is None or isinstance(choice, str):
            return choice
        return cast("JsonObject", choice.model_dump(exclude_unset=True))

    def names_of_server(self, server_label: str) -> Mapping[str, str]:
        """From a server's own names of its tools to the names that the model is given."""
        return {t.definition.name: name for name, t in self._mcp.items() if t.tool.server_label == server_label}

    def names_of(self, choice: AllowedTools) -> Collection[str]:
        """The names that the model is given for the tools of a choice."""
        names: set[str] = set()
        for tool in choice.tools:
            if tool.get("type") == "mcp":
                offered = self.names_of_server(str(tool.get("server_label")))
                wanted = tool.get("name")
                names.update(offered.values() if wanted is None else [offered.get(str(wanted), "")])
            else:
                names.add(str(tool.get("name")))
        return names

    def new_call(self, place: Place) -> GrowingCall:
        """The item of a call, by the name that the model calls; an unknown name is left to the client to answer."""
        offered = self._functions.get(place.name)
        if isinstance(offered, CustomTool):
            item_id = place.new_id("custom_tool_call")
            return CustomCallItem(item_id, place.index, place.call_id, place.name)
        mcp = self._mcp.get(place.name)
        if offered is not None or mcp is None:
            return client_function(place)
        item_type, make = (
            ("mcp_approval_request", ApprovalRequestItem) if mcp.needs_leave else ("mcp_call", McpCallItem)
        )
        return make(
            place.new_id(item_type),
            place.index,
            place.call_id,
            mcp.definition.name,
            server_label=mcp.tool.server_label,
        )

    async def list_tools(self, context: Sequence[Item], output: Output) -> AsyncGenerator[Event, None]:
        """Learn what the servers offer: from the context, where they were listed before, or by asking them.

        A server that cannot list its tools has none in this turn; its item says why.
        Errors: ``ToolServerForbidden``.
        """
        listed = {item.server_label: item for item in context if isinstance(item, McpListTools) and item.tools}
        for tool in self._servers:
            known = listed.get(tool.server_label)
            if known is not None:
                self._offer(tool, [_definition(t.model_dump()) for t in known.tools])
                continue
            item = output.append(partial(ListToolsItem, server_label=tool.server_label), "mcp_list_tools")
            for event in item.open():
                yield event
            try:
                session = await self._sessions[tool.server_label].get()
                offered = self._offer(tool, await session.list_tools())
                item.tools = [_listed(definition) for definition in offered]
            except ToolFailed as error:
                item.error = error.message
            for event in item.close("completed"):
                yield event

    async def run_approved(self, context: Sequence[Item], output: Output) -> AsyncGenerator[Event, None]:
        """Run the calls that the client has agreed to since they were asked for."""
        for request in _approved(context):
            call = partial(
                McpCallItem,
                call_id=request.id,
                name=request.name,
                server_label=request.server_label,
                approval_request_id=request.id,
            )
            item = output.append(call, "mcp_call")
            for begin in (item.open(), item.add(request.arguments), item.close("completed")):
                for event in begin:
                    yield event
        calls = output.waiting_calls
        async for event in self.run(calls, len(calls)):
            yield event

    async def run(self, calls: Sequence[McpCallItem], limit: int) -> AsyncGenerator[Event, None]:
        """Run calls at once, the first ``limit`` of them; the others fail. The events show them in their order."""
        self._has_run = self._has_run or bool(calls)
        running = [asyncio.create_task(self._run_one(call)) for call in calls[:limit]]
        try:
            for task in running:
                for event in await task:
                    yield event
            for call in calls[limit:]:
                for event in call.fail(_execution_error("The limit of tool calls is reached.")):
                    yield event
        finally:
            for task in running:
                task.cancel()

    async def _run_one(self, call: McpCallItem) -> Iterator[Event]:
        """The outcome of a call, as the events that show it."""
        session = self._sessions.get(call.server_label)
        if session is None:
            return call.fail(_protocol_error("The server is not among the tools of this request."))
        arguments = _arguments(call.arguments.text)
        if arguments is None:
            return call.fail(_execution_error("The arguments are not a JSON object."))
        try:
            result = await (await session.get()).call_tool(call.name, arguments)
        except (ToolFailed, ToolServerForbidden) as error:
            return call.fail(_protocol_error(str(error), error.code if isinstance(error, ToolFailed) else None))
        return call.fail(_execution_error(result.text)) if result.is_error else call.succeed(result.text)

    def _offer(self, tool: McpServerTool, definitions: Sequence[ToolDefinition]) -> Sequence[ToolDefinition]:
        """Take the tools that the request allows, each under a name that no other has."""
        allowed = [definition for definition in definitions if _allowed(tool, definition)]
        for definition in allowed:
            self._mcp[self._free_name(tool.server_label, definition.name)] = _McpTool(tool, definition)
        return allowed

    def _free_name(self, label: str, name: str) -> str:
        """The tool's own name if it is free, or else one with the server's label, and a number where that is taken."""
        candidates = chain((name, f"{label}__{name}"), (f"{n}_{label}__{name}" for n in count(2)))
        fitting = map(function_name, candidates)
        return next(name for name in fitting if name not in self._functions and name not in self._mcp)


def _approved(context: Sequence[Item]) -> Sequence[McpApprovalRequest]:
    agreed = {item.approval_request_id for item in context if isinstance(item, McpApprovalResponse) and item.approve}
    done = {item.approval_request_id for item in context if isinstance(item, McpCall)}
    return [item for item in context if isinstance(item, McpApprovalRequest) and item.id in agreed - done]


def _allowed(tool: McpServerTool, definition: ToolDefinition) -> bool:
    if isinstance(tool.allowed_tools, McpToolFilter):
        return _matches(tool.allowed_tools, definition)
    return tool.allowed_tools is None or definition.name in tool.allowed_tools


def _matches(rule: McpToolFilter, definition: ToolDefinition) -> bool:
    named = rule.tool_names is None or definition.name in rule.tool_names
    return named and (rule.read_only is None or rule.read_only == definition.read_only)


def _definition(listed: Mapping[str, object]) -> ToolDefinition:
    return ToolDefinition(
        name=cast("str", listed["name"]),
        description=cast("str | None", listed.get("description")),
        input_schema=cast("Mapping[str, JsonValue]", listed["input_schema"]),
        annotations=cast("Mapping[str, JsonValue] | None", listed.get("annotations")),
    )


def _listed(definition: ToolDefinition) -> JsonObject:
    listed: JsonObject = {"name": definition.name, "input_schema": dict(definition.input_schema)}
    if definition.description is not None:
        listed["description"] = definition.description
    if definition.annotations is not None:
        listed["annotations"] = dict(definition.annotations)
    return listed


def _offered(tool: FunctionTool | CustomTool) -> JsonObject:
    if isinstance(tool, CustomTool):
        return _function(tool.name, tool.description, _CUSTOM_INPUT)
    fields = tool.model_dump(include={"name", "description", "parameters", "strict"}, exclude_none=True)
    return {"type": "function", "function": fields}


def _offered_mcp(name: str, tool: _McpTool) -> JsonObject:
    return _function(name, tool.definition.description, dict(tool.definition.input_schema))


def _function(name: str, description: str | None, parameters: JsonObject) -> JsonObject:
    function: JsonObject = {"name": name, "parameters": parameters}
    if description:
        function["description"] = description
    return {"type": "function", "function": function}


def _arguments(text: str) -> Mapping[str, JsonValue] | None:
    """A call's arguments; ``None`` where they are not a JSON object. No text at all stands for no arguments."""
    try:
        found = from_json(text or "{}")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _protocol_error(message: str, code: int | None = None) -> JsonObject:
    return {"type": "mcp_protocol_error", "code": code or 0, "message": message}


def _flat(tool: JsonObject) -> JsonObject:
    """A chat completion's tool as the Responses API writes it."""
    return {"type": "function", "strict": False, **cast("JsonObject", tool["function"])}


def _execution_error(text: str) -> JsonObject:
    return {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": text}]}
