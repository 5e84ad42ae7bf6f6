"""A turn as a chat completion request: how each parameter is said there (docs/compatibility.md has the table)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import orjson

from llama_conversations.services.responses.system_messages import message_array
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.services.responses.turn import Turn
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import JsonObject
from llama_conversations.wire.responses import CreateResponse, JsonObjectFormat, JsonSchemaFormat
from llama_conversations.wire.tools import (
    AllowedTools,
    CustomChoice,
    FunctionChoice,
    McpChoice,
    ToolChoiceObject,
    ToolMode,
    WebSearchChoice,
)

_SAME_NAME = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
)
"""Parameters that both APIs call by the same name; sent only if the caller gave them."""


def chat_request(turn: Turn, messages: Sequence[bytes], toolbox: Toolbox, *, may_call: bool = True) -> bytes:
    """The request as JSON; what the caller left out is left to the model server's defaults.

    Args:
        may_call: Whether the model may call tools (again); otherwise they are shown, and none may be chosen.
    """
    request = turn.request
    fields: JsonObject = {"model": turn.model.provider_model_id}
    for name in _SAME_NAME:
        value = getattr(request, name)
        if value is not None:
            fields[name] = value
    fields |= _limits(turn) | _text(request) | _logprobs(request) | _tools(request, toolbox)
    if not may_call and "tools" in fields:
        fields["tool_choice"] = "none"
    if request.stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    # Messages come first: what changes from turn to turn stands behind what does not.
    array = message_array(messages, turn.model.inference.system_messages)
    return b'{"messages":%b,%b' % (array, orjson.dumps(fields)[1:])


def _limits(turn: Turn) -> JsonObject:
    request = turn.request
    fields: JsonObject = {}
    if request.max_output_tokens is not None:
        fields[turn.model.inference.output_limit] = request.max_output_tokens
    if request.reasoning is not None and request.reasoning.effort is not None:
        fields["reasoning_effort"] = request.reasoning.effort
    if request.service_tier not in (None, "auto"):
        fields["service_tier"] = request.service_tier
    return fields


def _text(request: CreateResponse) -> JsonObject:
    if request.text is None:
        return {}
    fields: JsonObject = {}
    if isinstance(request.text.format, JsonObjectFormat):
        fields["response_format"] = {"type": "json_object"}
    elif isinstance(request.text.format, JsonSchemaFormat):
        schema = request.text.format.model_dump(by_alias=True, exclude_unset=True, exclude={"type"})
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.text.verbosity is not None:
        fields["verbosity"] = request.text.verbosity
    return fields


def _tools(request: CreateResponse, toolbox: Toolbox) -> JsonObject:
    """Tools and their choice; of allowed tools only those are offered that are allowed."""
    tools, choice = toolbox.definitions(), toolbox.choice_now(request.tool_choice)
    if isinstance(choice, AllowedTools):
        allowed = toolbox.names_of(choice)
        tools = [tool for tool in tools if _name(tool) in allowed]
    if not tools:
        return {}
    fields: JsonObject = {"tools": [*tools]}
    said = _choice(choice, toolbox)
    if said is not None:
        fields["tool_choice"] = said
    if request.parallel_tool_calls is not None:
        fields["parallel_tool_calls"] = request.parallel_tool_calls
    return fields


def _name(tool: JsonObject) -> JsonValue:
    return cast("JsonObject", tool["function"])["name"]


def _choice(choice: ToolMode | ToolChoiceObject | None, toolbox: Toolbox) -> JsonValue:
    """How the choice is said; of an MCP server's tools one can be named, but not any of them: that is ``required``."""
    if isinstance(choice, FunctionChoice | CustomChoice):
        return {"type": "function", "function": {"name": choice.name}}
    if isinstance(choice, McpChoice):
        name = toolbox.names_of_server(choice.server_label).get(choice.name or "")
        return "required" if name is None else {"type": "function", "function": {"name": name}}
    if isinstance(choice, WebSearchChoice):
        return {"type": "function", "function": {"name": toolbox.search_name}}
    if isinstance(choice, AllowedTools):
        return choice.mode
    return choice if isinstance(choice, str) else None


def _logprobs(request: CreateResponse) -> JsonObject:
    if not request.top_logprobs and "message.output_text.logprobs" not in (request.include or ()):
        return {}
    return {"logprobs": True, "top_logprobs": request.top_logprobs or 0}
