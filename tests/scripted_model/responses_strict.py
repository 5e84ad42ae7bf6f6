"""A request of the Responses API to a server that keeps nothing, checked as OpenAI checks it (API reference)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from scripted_model.strict import Arguments, Audio, Invalid, JsonObject, Name, Strict

Status = Literal["in_progress", "completed", "incomplete"]


class InputText(Strict):
    type: Literal["input_text"]
    text: str


class InputImage(Strict):
    type: Literal["input_image"]
    image_url: str | None = None
    file_id: str | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None


class InputFile(Strict):
    type: Literal["input_file"]
    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None


class OutputText(Strict):
    type: Literal["output_text"]
    text: str
    annotations: list[JsonObject]
    logprobs: list[JsonObject] = Field(default_factory=list)


class Refusal(Strict):
    type: Literal["refusal"]
    refusal: str


class InputAudio(Strict):
    type: Literal["input_audio"]
    input_audio: Audio


InputPart = Annotated[InputText | InputImage | InputFile | InputAudio, Field(discriminator="type")]
OutputPart = Annotated[OutputText | Refusal, Field(discriminator="type")]


class Entry(Strict):
    id: str | None = None
    status: Status | None = None


class InputMessage(Entry):
    type: Literal["message"] = "message"
    role: Literal["user", "system", "developer"]
    content: str | Annotated[list[InputPart], Field(min_length=1)]


class AssistantMessage(Entry):
    type: Literal["message"] = "message"
    role: Literal["assistant"]
    content: str | list[OutputPart]
    phase: Literal["commentary", "final_answer"] | None = None


class FunctionCall(Entry):
    type: Literal["function_call"]
    call_id: str
    name: Name
    arguments: Arguments


class FunctionCallOutput(Entry):
    type: Literal["function_call_output"]
    call_id: str
    output: str | list[InputPart]


class CustomToolCall(Entry):
    type: Literal["custom_tool_call"]
    call_id: str
    name: Name
    input: str


class CustomToolCallOutput(Entry):
    type: Literal["custom_tool_call_output"]
    call_id: str
    output: str | list[InputPart]


class Reasoning(Strict):
    type: Literal["reasoning"]
    id: str
    summary: list[JsonObject]
    encrypted_content: str
    status: Status | None = None


class Compaction(Strict):
    type: Literal["compaction"]
    id: str | None = None
    encrypted_content: str


class WebSearchCall(Strict):
    type: Literal["web_search_call"]
    id: str
    status: str
    action: JsonObject | None = None


REQUIRED: Mapping[str, tuple[str, ...]] = {
    "file_search_call": ("id", "status", "queries"),
    "image_generation_call": ("id", "status", "result"),
    "code_interpreter_call": ("id", "status", "container_id", "code", "outputs"),
    "computer_call": ("id", "call_id", "status", "pending_safety_checks"),
    "computer_call_output": ("call_id", "output"),
    "local_shell_call": ("id", "call_id", "status", "action"),
    "local_shell_call_output": ("id", "output"),
    "shell_call": ("call_id", "action"),
    "shell_call_output": ("call_id", "output"),
    "apply_patch_call": ("call_id", "status", "operation"),
    "apply_patch_call_output": ("call_id", "status"),
    "tool_search_call": ("arguments",),
    "tool_search_output": ("tools",),
    "additional_tools": ("role", "tools"),
    "program": ("id", "call_id", "code", "fingerprint"),
    "program_output": ("id", "call_id", "result", "status"),
}
"""What items of further types need; a server of tools, and its items, are unknown to this one."""


class FurtherItem(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    type: str
    call_id: str | None = None

    @model_validator(mode="after")
    def has_what_its_type_needs(self) -> Self:
        if self.type not in REQUIRED:
            raise ValueError(f"'{self.type}' is none of the supported values")
        missing = [name for name in REQUIRED[self.type] if name not in self.model_fields_set]
        if missing:
            raise ValueError(f"missing {missing}")
        return self


def _kind(value: Any) -> str:
    kind = str(value.get("type", "message") if isinstance(value, dict) else None)
    if kind == "message" and value.get("role") == "assistant":
        return "assistant"
    return kind if kind in _KINDS else "further"


_KINDS = {
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "reasoning",
    "web_search_call",
    "compaction",
}


InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[AssistantMessage, Tag("assistant")]
    | Annotated[FunctionCall, Tag("function_call")]
    | Annotated[FunctionCallOutput, Tag("function_call_output")]
    | Annotated[CustomToolCall, Tag("custom_tool_call")]
    | Annotated[CustomToolCallOutput, Tag("custom_tool_call_output")]
    | Annotated[Reasoning, Tag("reasoning")]
    | Annotated[WebSearchCall, Tag("web_search_call")]
    | Annotated[Compaction, Tag("compaction")]
    | Annotated[FurtherItem, Tag("further")],
    Discriminator(_kind),
]


class ResponsesRequest(Strict):
    model: str
    input: str | list[InputItem]
    store: Literal[False]
    instructions: str | None = None
    stream: bool | None = None
    tools: list[JsonObject] = Field(default_factory=list)
    tool_choice: str | JsonObject = "auto"
    parallel_tool_calls: bool | None = None
    include: list[str] = Field(default_factory=list)
    reasoning: JsonObject | None = None
    text: JsonObject | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    truncation: Literal["auto", "disabled"] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    user: str | None = None

    @property
    def items(self) -> list[Any]:
        return [InputMessage(role="user", content=self.input)] if isinstance(self.input, str) else self.input

    @property
    def last_user_text(self) -> str:
        """Of the last user message, its text parts joined."""
        said = [item.content for item in self.items if isinstance(item, InputMessage) and item.role == "user"]
        if not said:
            return ""
        last = said[-1]
        return last if isinstance(last, str) else " ".join(part.text for part in last if isinstance(part, InputText))

    @property
    def outputs(self) -> list[str]:
        """The tool outputs that the request ends with."""
        texts: list[str] = []
        for item in reversed(self.items):
            if not isinstance(item, FunctionCallOutput | CustomToolCallOutput):
                break
            texts.append(item.output if isinstance(item.output, str) else "(parts)")
        return texts[::-1]


def read_responses_request(body: object, issued: Collection[str]) -> ResponsesRequest:
    """The request in a body. Raises ``Invalid``.

    Args:
        issued: The item ids and encrypted contents that this server has given out.
    """
    try:
        request = ResponsesRequest.model_validate(body)
    except ValidationError as error:
        first = next((one for one in error.errors() if one["loc"][-1] != "str"), error.errors()[0])
        path = ".".join(str(key) for key in first["loc"])
        raise Invalid(f"Invalid value for '{path}': {first['msg']}.", path, "invalid_value") from error
    for index, item in enumerate(request.items):
        if isinstance(item, Entry) and item.id is not None and item.id not in issued:
            raise Invalid(f"Item with id '{item.id}' not found. Items are not persisted when `store` is set to false.")
        if isinstance(item, Reasoning | Compaction) and item.encrypted_content not in issued:
            message = "The encrypted content could not be verified."
            raise Invalid(message, f"input[{index}].encrypted_content", "invalid_encrypted_content")
    _check_thoughts_lead_somewhere(request)
    _check_pairs(request)
    return request


def _check_thoughts_lead_somewhere(request: ResponsesRequest) -> None:
    """Behind reasoning stands what the model did then (observed: "without its required following item")."""
    for item, following in pairwise([*request.items, None]):
        answers = isinstance(following, FurtherItem) and following.type.endswith("_output")
        if isinstance(item, Reasoning) and (
            answers or not isinstance(following, AssistantMessage | FunctionCall | CustomToolCall | _MADE)
        ):
            raise Invalid(
                f"Item '{item.id}' of type 'reasoning' was provided without its required following item.", "input"
            )


_MADE = Reasoning | WebSearchCall | FurtherItem
_CALLED = ("computer_call", "shell_call", "apply_patch_call")
"""Calls of further types that the client answers under their ``call_id``."""


def _check_pairs(request: ResponsesRequest) -> None:
    waiting: list[tuple[str, str]] = []
    for item in request.items:
        call = (item.type.removesuffix("_output"), getattr(item, "call_id", None) or "")
        if item.type.endswith("_call_output") and call[0] in (*_CALLED, "function_call", "custom_tool_call"):
            if call not in waiting:
                raise Invalid(f"No tool call found for {call[0]} output with call_id {call[1]}.", "input")
            waiting.remove(call)
        elif isinstance(item, FunctionCall | CustomToolCall) or item.type in _CALLED:
            waiting.append(call)
    if waiting:
        raise Invalid(f"No tool output found for {waiting[0][0]} {waiting[0][1]}.", "input")
