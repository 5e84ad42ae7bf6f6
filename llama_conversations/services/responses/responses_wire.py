"""Asks models whose server speaks the Responses API itself: our state in front, ``store: false`` behind.

Items go there whole and come back whole: what the upstream makes (encrypted reasoning, hosted tools' items,
annotations) is shown and stored as it is, under the ids that it has there. Only calls of the tools that this server
runs are taken apart. The upstream keeps nothing, so ids are not told where the API can do without them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Literal, cast

import orjson
from pydantic_core import to_json

from llama_conversations.errors import (
    InvalidParameter,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamRateLimited,
    UpstreamRejected,
)
from llama_conversations.services.responses.chat_deltas import (
    Delta,
    Finished,
    PassedEvent,
    ToolCallDelta,
)
from llama_conversations.services.responses.chat_messages import Unseal, after_compaction
from llama_conversations.services.responses.chat_parts import (
    REFUSED,
    SUMMARY,
    Answer,
    Call,
    told_arguments,
    web_search,
)
from llama_conversations.services.responses.history import Context
from llama_conversations.services.responses.prompt_template import PromptPart
from llama_conversations.services.responses.responses_input import in_its_role, plain_input, without_stray_thoughts
from llama_conversations.services.responses.sealing import is_sealed
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.services.responses.turn import Turn
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import JsonObject
from llama_conversations.wire.include import Include
from llama_conversations.wire.items import (
    Compaction,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    KnownItem,
    McpApprovalRequest,
    McpApprovalResponse,
    McpCall,
    McpListTools,
    Message,
    PlainMessage,
    Reasoning,
    ToldItem,
    WebSearchCall,
    modelled,
)
from llama_conversations.wire.responses import Usage
from llama_conversations.wire.tools import AllowedTools

_SAME = (
    "max_output_tokens",
    "max_tool_calls",
    "parallel_tool_calls",
    "presence_penalty",
    "frequency_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "temperature",
    "text",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
)
"""Parameters that go to the upstream as they came."""

_ENCRYPTED: Include = "reasoning.encrypted_content"


class ResponsesWire:
    """One turn's model, asked in the Responses API.

    Attributes:
        prompt: The request's stored prompt, filled in.
    """

    def __init__(self, turn: Turn, unseal: Unseal) -> None:
        self._turn, self._unseal = turn, unseal
        self._own_tools: Collection[str] = ()
        self.prompt: Sequence[PromptPart] = ()

    def request(self, context: Context, toolbox: Toolbox, *, may_call: bool = True) -> bytes:
        """The request that ``ask`` sends. Errors: ``InvalidParameter`` for a call without output, or the reverse."""
        request, items = self._turn.request, after_compaction(context.told)
        _check_pairs(modelled(items))
        refused = _refusals(modelled(items))
        fields: JsonObject = {
            "model": self._turn.model.provider_model_id,
            "input": [*self._prompt(), *without_stray_thoughts(self._all_told(items, refused, toolbox))],
            "store": False,
        }
        given = cast("JsonObject", request.model_dump(include=set(_SAME), exclude_none=True, by_alias=True))
        fields |= given | ({} if request.instructions is None else {"instructions": request.instructions})
        include = self._include()
        if include:
            fields["include"] = [*include]
        tools = toolbox.upstream_tools()
        offered = {tool["name"] for tool in tools if "name" in tool}
        self._own_tools = {
            str(name) for name in offered - {getattr(tool, "name", None) for tool in request.tools or ()}
        }
        if tools:
            fields["tools"] = [*tools]
            choice = "none" if not may_call else self._choice(toolbox)
            if choice is not None:
                fields["tool_choice"] = choice
        if request.stream:
            fields["stream"] = True
        return to_json(fields)

    async def ask(self, request: bytes) -> AsyncGenerator[Delta, None]:
        """What the model says. Errors: ``UpstreamError``."""
        try:
            async with aclosing(self._deltas(request)) as deltas:
                async for delta in deltas:
                    yield delta
        except UpstreamRejected as error:
            if error.param is not None and error.param.startswith("input"):
                error.param = "input"  # places in it are places in the whole context
            raise

    async def _deltas(self, request: bytes) -> AsyncGenerator[Delta, None]:
        model = self._turn.model
        reader = AnswerReader(model.provider_id, self._own_tools)
        if not self._turn.request.stream:
            for delta in reader.whole(await model.inference.create_response(request)):
                yield delta
            return
        async with aclosing(model.inference.stream_response(request)) as events:
            async for event in events:
                for delta in reader.event(event):
                    yield delta
        reader.check_ended()

    def _include(self) -> Sequence[Include]:
        """What the caller wants shown, and what reasoning needs to be continued from where nothing is kept."""
        asked = self._turn.request.include or ()
        if self._turn.request.reasoning is None or _ENCRYPTED in asked:
            return asked
        return [*asked, _ENCRYPTED]

    def _choice(self, toolbox: Toolbox) -> JsonValue:
        """The choice among the tools, of which this server's own are functions there."""
        choice = self._turn.request.tool_choice
        if not isinstance(choice, AllowedTools):
            return toolbox.upstream_choice(choice)
        own: list[JsonValue] = [
            {"type": "function", "name": name} for name in sorted({*toolbox.names_of(choice)} & {*self._own_tools})
        ]
        theirs = [tool for tool in choice.tools if not toolbox.runs(tool.get("type"))]
        return {"type": "allowed_tools", "mode": choice.mode, "tools": [*theirs, *own]}

    def _prompt(self) -> Iterator[JsonObject]:
        if self.prompt:
            parts = [cast("JsonObject", part.model_dump(exclude_unset=True)) for part in self.prompt]
            role = "developer" if all(part["type"] == "input_text" for part in parts) else "user"
            yield {"type": "message", "role": role, "content": [*parts]}

    def _all_told(
        self, items: Sequence[ToldItem], refused: Mapping[str, str], toolbox: Toolbox
    ) -> Iterator[JsonObject]:
        for item in items:
            if type(item) is PlainMessage:
                yield plain_input(item)
            else:
                yield from self._told(item, refused, toolbox)

    def _told(self, item: Item, refused: Mapping[str, str], toolbox: Toolbox) -> Iterator[JsonObject]:
        """An item as the upstream takes it: what this server did by itself is told as a function's call."""
        if isinstance(item, Compaction):
            summary = self._unseal(item.encrypted_content)
            if summary is not None:
                yield {"type": "message", "role": "developer", "content": SUMMARY + summary}
                return
        if isinstance(item, McpApprovalRequest | McpCall):
            output = refused.get(item.id) if isinstance(item, McpApprovalRequest) else _answer_of(item)
            if output is not None:
                yield _told_call(Call(item.id, toolbox.name_of(item), told_arguments(item.arguments)))
                yield _told_answer(Answer(item.id, output))
            return
        if isinstance(item, WebSearchCall) and toolbox.search_name is not None:
            for told in web_search(item, toolbox.search_name):
                yield _told_call(told) if isinstance(told, Call) else _told_answer(told)
            return
        if isinstance(item, McpListTools | McpApprovalResponse) or _is_cut_off(item) or _is_closed_thought(item):
            return
        yield _as_it_is(item)


def _as_it_is(item: Item) -> JsonObject:
    """An item that the API knows, with no more than it takes."""
    fields: JsonObject = item.model_dump(exclude_unset=True, by_alias=True)
    if isinstance(item, FunctionCall):
        fields["arguments"] = told_arguments(item.arguments)
    if isinstance(item, Reasoning):
        fields.pop("content", None)
    elif not isinstance(item, KnownItem):
        fields.pop("id", None)
    return in_its_role(fields) if isinstance(item, Message) else fields


def _told_call(call: Call) -> JsonObject:
    return {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}


def _told_answer(answer: Answer) -> JsonObject:
    return {"type": "function_call_output", "call_id": answer.call_id, "output": answer.text}


def _answer_of(call: McpCall) -> str | None:
    """What a call of a tool server's brought; ``None`` where it never ran."""
    return call.output if call.error is None else f"Error: {to_json(call.error).decode()}"


def _is_closed_thought(item: Item) -> bool:
    """Whether it is a thought that the upstream cannot read: it keeps none, and opens only what it sealed itself."""
    return isinstance(item, Reasoning) and (item.encrypted_content is None or is_sealed(item.encrypted_content))


def _is_cut_off(item: Item) -> bool:
    """Whether it is a call that the model never finished, which nobody can answer."""
    return isinstance(item, FunctionCall | CustomToolCall) and item.status == "incomplete"


def _refusals(items: Sequence[Item]) -> Mapping[str, str]:
    """By their ids, the requests for leave that the client refused, each with what the model is told."""
    return {
        item.approval_request_id: f"{REFUSED} {item.reason}" if item.reason else REFUSED
        for item in items
        if isinstance(item, McpApprovalResponse) and not item.approve
    }


def _check_pairs(items: Sequence[Item]) -> None:
    """Refuse now what the upstream would refuse. Errors: ``InvalidParameter``."""
    waiting: list[str] = []
    for item in items:
        if isinstance(item, FunctionCall | CustomToolCall):
            if not _is_cut_off(item):
                waiting.append(item.call_id)
        elif isinstance(item, FunctionCallOutput | CustomToolCallOutput):
            if item.call_id not in waiting:
                message = f"No tool call found for function call output with call_id {item.call_id}."
                raise InvalidParameter(message, param="input", code=None)
            waiting.remove(item.call_id)
    if waiting:
        raise InvalidParameter(f"No tool output found for function call {waiting[0]}.", param="input", code=None)


class AnswerReader:
    """Reads one answer of the upstream, event by event or whole.

    Args:
        own_tools: Functions that this server runs.
    """

    def __init__(self, provider_id: str, own_tools: Collection[str]) -> None:
        self._provider_id, self._own_tools = provider_id, own_tools
        self._calls: dict[int, bool] = {}
        """Calls of this server's own tools, and whether any arguments have come."""
        self._open: dict[int, JsonValue] = {}
        """Items that have begun and are not done, and their types."""
        self._begun = self._ended = False

    def event(self, payload: bytes) -> Iterator[Delta]:
        """The deltas of one event. Errors: ``UpstreamGarbled``; what the upstream says went wrong."""
        try:
            yield from self._read(cast("JsonObject", orjson.loads(payload)))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise UpstreamGarbled(self._provider_id, "The model server's stream is not one of responses.") from error

    def whole(self, payload: bytes) -> Iterator[Delta]:
        """The deltas of a whole response. Errors: as of ``event``."""
        try:
            yield from self._end(cast("JsonObject", orjson.loads(payload)))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise UpstreamGarbled(self._provider_id, "The model server's answer is not a response.") from error

    def check_ended(self) -> None:
        """Errors: ``UpstreamGarbled`` for a stream without a terminal event."""
        if not self._ended:
            raise UpstreamGarbled(self._provider_id, "The model server's stream ended without a terminal event.")

    def _read(self, event: JsonObject) -> Iterator[Delta]:
        kind = cast("str", event["type"])
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            yield from self._end(cast("JsonObject", event["response"]))
        elif kind == "error":
            self._raise(event)
        elif "output_index" in event:
            yield from self._of_item(kind, cast("int", event["output_index"]), event)

    def _of_item(self, kind: str, index: int, event: JsonObject) -> Iterator[Delta]:
        """An event of an item; of a call of an own tool, only what the model says counts."""
        item = cast("JsonObject", event.get("item") or {})
        if kind == "response.output_item.added":
            self._begun = True
            self._open[index] = item["type"]
            self._calls.pop(index, None)
            if item["type"] == "function_call" and item["name"] in self._own_tools:
                self._calls[index] = False
                yield ToolCallDelta(index, cast("str", item["call_id"]), cast("str", item["name"]), "")
                return
        if kind == "response.output_item.done":
            self._open.pop(index, None)
        if index not in self._calls:
            yield PassedEvent(event)
        elif kind == "response.function_call_arguments.delta":
            self._calls[index] = True
            yield ToolCallDelta(index, None, None, cast("str", event["delta"]))
        elif kind == "response.output_item.done" and not self._calls[index]:
            yield ToolCallDelta(index, None, None, cast("str", item["arguments"]))

    def _rest(self, output: Sequence[JsonObject]) -> Iterator[Delta]:
        """What of a whole output was not streamed: all of it, or the ends of items."""
        if not self._begun:
            for index, item in enumerate(output):
                added: JsonObject = {"type": "response.output_item.added", "output_index": index, "item": item}
                yield from self._of_item("response.output_item.added", index, added)
        for index, item_type in list(self._open.items()):
            item = output[index]
            if item["type"] != item_type:
                raise ValueError("items of the terminal event are not those that were streamed")
            done: JsonObject = {"type": "response.output_item.done", "output_index": index, "item": item}
            yield from self._of_item("response.output_item.done", index, done)

    def _end(self, response: JsonObject) -> Iterator[Delta]:
        self._ended = True
        status = response.get("status")
        if status == "failed":
            self._raise(cast("JsonObject", response.get("error") or {}))
        yield from self._rest(cast("list[JsonObject]", response.get("output") or []))
        if response.get("usage"):
            yield Usage.model_validate(_usage(cast("JsonObject", response["usage"])))
        details = cast("JsonObject", response.get("incomplete_details") or {})
        reason: Literal["stop", "length", "content_filter"] = "stop"
        if status == "incomplete":
            reason = "content_filter" if details.get("reason") == "content_filter" else "length"
        yield Finished(reason)

    def _raise(self, error: JsonObject) -> None:
        nested = error.get("error")
        facts = nested if isinstance(nested, dict) else error
        code, message = facts.get("code"), str(facts.get("message") or "The model server failed.")
        if code in ("rate_limit_exceeded", "insufficient_quota"):
            raise UpstreamRateLimited(self._provider_id, message, retry_after=None, code=str(code))
        if code in ("invalid_prompt", "context_length_exceeded"):
            raise UpstreamRejected(self._provider_id, message, code=str(code))
        raise UpstreamFailed(self._provider_id, message)


def _usage(usage: JsonObject) -> JsonObject:
    """The upstream's usage, with counts that it leaves out as zero."""
    read = cast("JsonObject", usage.get("input_tokens_details") or {})
    written = cast("JsonObject", usage.get("output_tokens_details") or {})
    return usage | {
        "input_tokens_details": {
            "cached_tokens": read.get("cached_tokens") or 0,
            "cache_write_tokens": read.get("cache_write_tokens") or 0,
        },
        "output_tokens_details": {"reasoning_tokens": written.get("reasoning_tokens") or 0},
    }
