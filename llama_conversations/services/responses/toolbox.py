"""Everything that the model may call in one turn: whose call it is, and what the server's own tools answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, count
from typing import Self, cast

from pydantic_core import from_json

from llama_conversations.apis.tools import ToolDefinition
from llama_conversations.errors import ToolFailed, ToolServerForbidden
from llama_conversations.services.responses.chat_parts import WEB_SEARCH, ServerRun, function_name, plain_name
from llama_conversations.services.responses.mcp_tools import (
    LazySession,
    McpTool,
    definition_of,
    function_tool,
    is_allowed,
    listed,
    lists_enough,
)
from llama_conversations.services.responses.output import Output, Place, ServerCall, client_function
from llama_conversations.services.responses.output_calls import (
    ApprovalRequestItem,
    CustomCallItem,
    GrowingCall,
    ListToolsItem,
    McpCallItem,
)
from llama_conversations.services.responses.search_tool import SearchTool
from llama_conversations.services.responses.web_search_item import WebSearchItem
from llama_conversations.services.tools import ToolServers
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import Event, JsonObject
from llama_conversations.wire.include import Include
from llama_conversations.wire.items import (
    Item,
    McpApprovalRequest,
    McpApprovalResponse,
    McpCall,
    McpListTools,
    WebSearchCall,
)
from llama_conversations.wire.tools import (
    WEB_SEARCH_TYPES,
    AllowedTools,
    CustomTool,
    FunctionTool,
    McpChoice,
    McpServerTool,
    Tool,
    ToolChoiceObject,
    ToolMode,
    WebSearchChoice,
    WebSearchTool,
)

_CUSTOM_INPUT: JsonObject = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
"""Chat completions know functions only: a custom tool is offered as one that takes its text as ``input``."""


class Toolbox:
    """The tools of one turn. Close it (``async with``): it holds the sessions with tool servers.

    Args:
        tools: The request's tools, checked.
        servers: Who opens sessions, and searches.
        include: What the request wants to be shown.

    Attributes:
        calls_run: How many calls this server has run so far, those that failed included.
    """

    def __init__(self, tools: Sequence[Tool], servers: ToolServers, include: Collection[Include] = ()) -> None:
        self._functions: dict[str, FunctionTool | CustomTool] = {
            tool.name: tool for tool in tools if isinstance(tool, FunctionTool | CustomTool)
        }
        ours = (McpServerTool, WebSearchTool) if servers.searches.available else McpServerTool
        self._own = [tool for tool in tools if not isinstance(tool, ours)]
        self._servers = [tool for tool in tools if isinstance(tool, McpServerTool)]
        self._sessions = {tool.server_label: LazySession(servers.session(tool)) for tool in self._servers}
        self._mcp: dict[str, McpTool] = {}
        self._names: dict[tuple[str, str], str] = {}
        """From a server's label and its own name of a tool to the name that the model is given."""
        self._search: SearchTool | None = None
        for tool in tools:
            if isinstance(tool, WebSearchTool) and servers.searches.available:
                self._search = SearchTool(self._free_name("server", WEB_SEARCH), tool, servers.searches, include)
        self.calls_run = 0

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
        return [*map(_offered, self._functions.values()), *self._offered_here()]

    def upstream_tools(self) -> Sequence[JsonObject]:
        """The tools for an upstream that speaks the Responses API: its own as they came, the server's as functions."""
        own = [cast("JsonObject", tool.model_dump(exclude_unset=True)) for tool in self._own]
        return [*own, *map(_flat, self._offered_here())]

    def _offered_here(self) -> Sequence[JsonObject]:
        """The tools that this server runs."""
        search = () if self._search is None else (self._search.offered(),)
        return [*search, *(tool.offered(name) for name, tool in self._mcp.items())]

    @property
    def search_name(self) -> str | None:
        """What the model calls the web search, if this server does it in this turn."""
        return None if self._search is None else self._search.name

    def runs(self, tool_type: JsonValue) -> bool:
        """Whether tools of a type are this server's to run."""
        return tool_type == "mcp" or (self._search is not None and tool_type in WEB_SEARCH_TYPES)

    def citations(self, text: str) -> Sequence[JsonObject]:
        """The annotations of a text that the model has written."""
        return () if self._search is None else self._search.citations(text)

    def choice_now(self, choice: ToolMode | ToolChoiceObject | None) -> ToolMode | ToolChoiceObject | None:
        """The request's choice; once a tool of the server's has run, none has to be called any more, or none would end
        the turn."""
        if not self.calls_run or choice in (None, "none"):
            return choice
        return choice.model_copy(update={"mode": "auto"}) if isinstance(choice, AllowedTools) else "auto"

    def upstream_choice(self, choice: ToolMode | ToolChoiceObject | None) -> JsonValue:
        """A choice among them."""
        choice = self.choice_now(choice)
        if isinstance(choice, McpChoice):
            name = self.names_of_server(choice.server_label).get(choice.name or "")
            return "required" if name is None else {"type": "function", "name": name}
        if isinstance(choice, WebSearchChoice) and self._search is not None:
            return {"type": "function", "name": self._search.name}
        if choice is None or isinstance(choice, str):
            return choice
        return cast("JsonObject", choice.model_dump(exclude_unset=True))

    def names_of_server(self, server_label: str) -> Mapping[str, str]:
        """From a server's own names of its tools to the names that the model is given."""
        return {own: name for (label, own), name in self._names.items() if label == server_label}

    def name_of(self, item: ServerRun) -> str:
        """The name that the model is given for the tool of a call, or was, where it is not offered any more."""
        if isinstance(item, WebSearchCall):
            return self.search_name or plain_name(item)
        return self._names.get((item.server_label, item.name)) or plain_name(item)

    def names_of(self, choice: AllowedTools) -> Collection[str]:
        """The names that the model is given for the tools of a choice."""
        names: set[str] = set()
        for tool in choice.tools:
            if tool.get("type") == "mcp":
                offered = self.names_of_server(str(tool.get("server_label")))
                wanted = tool.get("name")
                names.update(offered.values() if wanted is None else [offered.get(str(wanted), "")])
            elif self._search is not None and self.runs(tool.get("type")):
                names.add(self._search.name)
            else:
                names.add(str(tool.get("name")))
        return names

    def new_call(self, place: Place) -> GrowingCall:
        """The item of a call, by the name that the model calls; an unknown name is left to the client to answer."""
        offered = self._functions.get(place.name)
        if isinstance(offered, CustomTool):
            item_id = place.new_id("custom_tool_call")
            return CustomCallItem(item_id, place.index, place.call_id, place.name)
        if self._search is not None and place.name == self._search.name:
            return self._search.new_call(place)
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
        lists = {item.server_label: item for item in context if isinstance(item, McpListTools) and item.tools}
        for tool in self._servers:
            known = lists.get(tool.server_label)
            if known is not None and lists_enough(known, tool):
                self._offer(tool, [definition_of(t.model_dump()) for t in known.tools])
                continue
            item = output.append(partial(ListToolsItem, server_label=tool.server_label), "mcp_list_tools")
            for event in item.open():
                yield event
            try:
                session = await self._sessions[tool.server_label].get()
                offered = self._offer(tool, await session.list_tools())
                item.tools = [listed(definition) for definition in offered]
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

    async def run(self, calls: Sequence[ServerCall], limit: int) -> AsyncGenerator[Event, None]:
        """Run calls at once, the first ``limit`` of them; the others fail. The events show them in their order."""
        self.calls_run += len(calls)
        running = [asyncio.create_task(self._run_one(call)) for call in calls[:limit]]
        try:
            for task in running:
                for event in await task:
                    yield event
            for call in calls[limit:]:
                for event in _not_run(call, "The limit of tool calls is reached."):
                    yield event
        finally:
            for task in running:
                task.cancel()

    async def _run_one(self, call: ServerCall) -> Iterator[Event]:
        """The outcome of a call, as the events that show it."""
        if isinstance(call, WebSearchItem):
            return await cast("SearchTool", self._search).run(call)  # which has made the item
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
        allowed = {definition.name: definition for definition in definitions if is_allowed(tool, definition)}
        for own, definition in allowed.items():
            name = self._free_name(tool.server_label, own)
            self._mcp[name] = McpTool(tool, definition)
            self._names[tool.server_label, own] = name
        return list(allowed.values())

    def _free_name(self, label: str, name: str) -> str:
        """The tool's own name if it is free, or else one with the server's label, and a number where that is taken."""
        candidates = chain((name, f"{label}__{name}"), (f"{n}_{label}__{name}" for n in count(2)))
        fitting = map(function_name, candidates)
        taken = {*self._functions, *self._mcp, self.search_name}
        return next(name for name in fitting if name not in taken)


def _not_run(call: ServerCall, message: str) -> Iterator[Event]:
    """A call that fails without having been run."""
    return call.fail(message) if isinstance(call, WebSearchItem) else call.fail(_execution_error(message))


def _approved(context: Sequence[Item]) -> Sequence[McpApprovalRequest]:
    agreed = {item.approval_request_id for item in context if isinstance(item, McpApprovalResponse) and item.approve}
    done = {item.approval_request_id for item in context if isinstance(item, McpCall)}
    return [item for item in context if isinstance(item, McpApprovalRequest) and item.id in agreed - done]


def _offered(tool: FunctionTool | CustomTool) -> JsonObject:
    if isinstance(tool, CustomTool):
        return function_tool(tool.name, tool.description, _CUSTOM_INPUT)
    fields = tool.model_dump(include={"name", "description", "parameters", "strict"}, exclude_none=True)
    return {"type": "function", "function": fields}


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
