"""A turn as a chat completion request: how each parameter is said there (docs/compatibility.md has the table)."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from llama_conversations.services.responses.turn import Turn
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import JsonObject
from llama_conversations.wire.responses import CreateResponse, JsonObjectFormat, JsonSchemaFormat
from llama_conversations.wire.tools import AllowedTools, FunctionChoice, FunctionTool

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


def chat_request(turn: Turn, messages: Sequence[bytes]) -> bytes:
    """The request as JSON; what the caller left out is left to the model server's defaults."""
    request = turn.request
    fields: JsonObject = {"model": turn.model.provider_model_id}
    for name in _SAME_NAME:
        value = getattr(request, name)
        if value is not None:
            fields[name] = value
    fields |= _limits(request) | _text(request) | _tools(request) | _logprobs(request)
    if request.stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    # Messages come first: what changes from turn to turn stands behind what does not.
    return b'{"messages":[%b],%b' % (b",".join(messages), orjson.dumps(fields)[1:])


def _limits(request: CreateResponse) -> JsonObject:
    fields: JsonObject = {}
    if request.max_output_tokens is not None:
        fields["max_tokens"] = request.max_output_tokens
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


def _tools(request: CreateResponse) -> JsonObject:
    """Tools and their choice; of allowed tools only those are offered that are allowed."""
    choice = request.tool_choice
    tools = [tool for tool in request.tools or () if isinstance(tool, FunctionTool)]
    if isinstance(choice, AllowedTools):
        allowed = {tool.get("name") for tool in choice.tools}
        tools = [tool for tool in tools if tool.name in allowed]
    if not tools:
        return {}
    fields: JsonObject = {"tools": [{"type": "function", "function": _function(tool)} for tool in tools]}
    if isinstance(choice, AllowedTools):
        fields["tool_choice"] = choice.mode
    elif isinstance(choice, FunctionChoice):
        fields["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif isinstance(choice, str):
        fields["tool_choice"] = choice
    if request.parallel_tool_calls is not None:
        fields["parallel_tool_calls"] = request.parallel_tool_calls
    return fields


def _function(tool: FunctionTool) -> dict[str, JsonValue]:
    return tool.model_dump(include={"name", "description", "parameters", "strict"}, exclude_none=True)


def _logprobs(request: CreateResponse) -> JsonObject:
    if not request.top_logprobs and "message.output_text.logprobs" not in (request.include or ()):
        return {}
    return {"logprobs": True, "top_logprobs": request.top_logprobs or 0}
