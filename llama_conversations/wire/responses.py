"""Responses over HTTP (OpenAI API reference, Responses)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from llama_conversations.wire.base import JsonValue, Metadata, OpenModel, RequestModel, WireModel
from llama_conversations.wire.include import IncludeList
from llama_conversations.wire.items import InputItems, StoredItem
from llama_conversations.wire.tools import Tool, ToolChoiceObject, ToolMode
from llama_conversations.wire.unions import Array, ByJsonType, ByKey

Temperature = Annotated[float, Field(ge=0, le=2)]
Probability = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Truncation = Literal["auto", "disabled"]
ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]
Verbosity = Literal["low", "medium", "high"]


class ConversationRef(WireModel):
    """A conversation, by its id."""

    id: str


class TextFormat(OpenModel):
    """Plain text."""

    type: Literal["text"]


class JsonObjectFormat(OpenModel):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(OpenModel):
    """JSON of a given schema."""

    type: Literal["json_schema"]
    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern="^[a-zA-Z0-9_-]+$")]
    json_schema: dict[str, JsonValue] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class TextOptions(RequestModel):
    """The shape of the text that the model writes."""

    format: Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, ByKey("type")] | None = None
    verbosity: Verbosity | None = None


class ReasoningOptions(RequestModel):
    """How much the model thinks before it writes, and what is shown of it."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None
    mode: str | None = None


class StreamOptions(RequestModel):
    """Of a stream: whether deltas are padded so that their sizes tell nothing."""

    include_obfuscation: bool | None = None


class PromptReference(RequestModel):
    """A stored prompt, with values for its variables."""

    id: str
    version: str | None = None
    variables: dict[str, JsonValue] | None = None


class ContextManagement(RequestModel):
    """When the context is made small: once it has ``compact_threshold`` tokens."""

    type: Literal["compaction"]
    compact_threshold: Annotated[int, Field(ge=1000)] | None = None


class CreateResponse(RequestModel):
    """Body of ``POST /responses``; null stands for an absent key, but for ``model`` and ``input``."""

    model: str
    input: Annotated[str | InputItems, ByJsonType()]
    instructions: str | None = None
    conversation: Annotated[str | ConversationRef, ByJsonType()] | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    include: IncludeList | None = None
    tools: Array[Tool] | None = None
    tool_choice: Annotated[ToolMode | ToolChoiceObject, ByJsonType()] | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Annotated[int, Field(ge=1)] | None = None
    max_output_tokens: Annotated[int, Field(ge=16)] | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    truncation: Truncation | None = None
    metadata: Metadata | None = None
    prompt: PromptReference | None = None
    context_management: Annotated[list[ContextManagement], Field(min_length=1)] | None = None
    moderation: dict[str, JsonValue] | None = None
    service_tier: ServiceTier | None = None
    user: str | None = None
    safety_identifier: Annotated[str, StringConstraints(max_length=64)] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    prompt_cache_options: dict[str, JsonValue] | None = None

    @property
    def conversation_id(self) -> str | None:
        """The conversation's id, in whichever form it came."""
        return self.conversation.id if isinstance(self.conversation, ConversationRef) else self.conversation


class CountTokens(RequestModel):
    """Body of ``POST /responses/input_tokens``: what a turn would be, all of it optional."""

    model: str | None = None
    input: Annotated[str | InputItems, ByJsonType()] | None = None
    instructions: str | None = None
    conversation: Annotated[str | ConversationRef, ByJsonType()] | None = None
    previous_response_id: str | None = None
    tools: Array[Tool] | None = None
    tool_choice: Annotated[ToolMode | ToolChoiceObject, ByJsonType()] | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    truncation: Truncation | None = None
    personality: str | None = None


class TokenCounts(WireModel):
    """Answer to ``POST /responses/input_tokens``."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int


class CompactContext(RequestModel):
    """Body of ``POST /responses/compact``."""

    model: str
    input: Annotated[str | InputItems, ByJsonType()] | None = None
    previous_response_id: str | None = None
    instructions: str | None = None
    prompt_cache_key: Annotated[str, StringConstraints(max_length=64)] | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    prompt_cache_options: dict[str, JsonValue] | None = None
    service_tier: ServiceTier | None = None


class InputTokensDetails(WireModel):
    """Of the tokens read."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(WireModel):
    """Of the tokens written."""

    reasoning_tokens: int = 0


class Usage(WireModel):
    """Tokens that a response cost, as its model server counts them."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseError(WireModel):
    """Why a response failed; codes of the OpenAI API reference, ``ResponseErrorCode``."""

    code: str
    message: str


class IncompleteDetails(WireModel):
    """Why a response is incomplete."""

    reason: Literal["max_output_tokens", "content_filter"]


class TextShown(WireModel):
    """``text`` of a response: the request's, with defaults filled in."""

    format: dict[str, JsonValue]
    verbosity: Verbosity


class ReasoningShown(WireModel):
    """``reasoning`` of a response."""

    effort: str | None = None
    summary: str | None = None


class ResponseHead(WireModel):
    """A response without its ``output``; keys that may not be null are absent when they have no value."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
    completed_at: int | None
    background: bool
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    parallel_tool_calls: bool
    previous_response_id: str | None
    conversation: ConversationRef | None = None
    reasoning: ReasoningShown
    prompt: dict[str, JsonValue] | None = None
    safety_identifier: str | None
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    prompt_cache_options: dict[str, JsonValue] | None = None
    service_tier: str
    store: bool
    temperature: float
    top_p: float
    top_logprobs: int
    presence_penalty: float
    frequency_penalty: float
    text: TextShown
    tool_choice: ToolMode | dict[str, JsonValue]
    tools: list[dict[str, JsonValue]]
    truncation: Truncation
    usage: Usage | None
    user: str | None = None
    metadata: dict[str, str]


class Response(ResponseHead):
    """A response."""

    output: list[StoredItem]


class CompactedContext(WireModel):
    """Answer to ``POST /responses/compact``: send ``output`` as the input of a next turn."""

    id: str
    object: Literal["response.compaction"] = "response.compaction"
    created_at: int
    output: list[StoredItem]
    usage: Usage


class ResponseDeleted(WireModel):
    """Answer to ``DELETE /responses/{id}``."""

    id: str
    object: Literal["response.deleted"] = "response.deleted"
    deleted: Literal[True] = True


class ResponseList(WireModel):
    """A page of responses (an extension: the hosted API cannot list them)."""

    object: Literal["list"] = "list"
    data: list[Response]
    first_id: str | None
    last_id: str | None
    has_more: bool
