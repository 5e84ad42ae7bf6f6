"""A chat completion request, checked as OpenAI checks it (API reference, "Create chat completion").

Where another model server is stricter with a history, and was seen to be, its rule holds.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

JsonObject = dict[str, Any]
Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
ParticipantName = Annotated[str, StringConstraints(pattern=r"^[^\s<|\\/>]{1,64}$")]


class Invalid(Exception):
    """The request would be refused with 400."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message, self.param, self.code = message, param, code


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class TextPart(Strict):
    type: Literal["text"]
    text: str


class RefusalPart(Strict):
    type: Literal["refusal"]
    refusal: str


class ImageURL(Strict):
    url: Annotated[str, StringConstraints(pattern=r"^(https?://|data:image/)")]
    detail: Literal["auto", "low", "high"] = "auto"


class ImagePart(Strict):
    type: Literal["image_url"]
    image_url: ImageURL


class Audio(Strict):
    data: str
    format: Literal["wav", "mp3"]


class AudioPart(Strict):
    type: Literal["input_audio"]
    input_audio: Audio


class File(Strict):
    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None


class FilePart(Strict):
    type: Literal["file"]
    file: File


UserPart = Annotated[TextPart | ImagePart | AudioPart | FilePart, Field(discriminator="type")]
AssistantPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
Texts = str | Annotated[list[TextPart], Field(min_length=1)]


class InstructionMessage(Strict):
    role: Literal["system", "developer"]
    content: Texts
    name: ParticipantName | None = None


class UserMessage(Strict):
    role: Literal["user"]
    content: str | Annotated[list[UserPart], Field(min_length=1)]
    name: ParticipantName | None = None


def an_object(text: str) -> str:
    """The arguments of a call that was made: OpenAI takes any text, llama.cpp, vLLM and Ollama only an object."""
    if not isinstance(json.loads(text), dict):
        raise ValueError("the arguments of a call are no JSON object")
    return text


Arguments = Annotated[str, AfterValidator(an_object)]


class CalledFunction(Strict):
    name: Name
    arguments: Arguments


class ToolCall(Strict):
    id: Annotated[str, StringConstraints(min_length=1)]
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(Strict):
    role: Literal["assistant"]
    content: str | Annotated[list[AssistantPart], Field(min_length=1)] | None = None
    refusal: str | None = None
    name: ParticipantName | None = None
    tool_calls: Annotated[list[ToolCall], Field(min_length=1)] | None = None


class ToolMessage(Strict):
    role: Literal["tool"]
    content: Texts
    tool_call_id: str


Message = Annotated[
    InstructionMessage | UserMessage | AssistantMessage | ToolMessage,
    Field(discriminator="role"),
]


class Function(Strict):
    name: Name
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class Tool(Strict):
    type: Literal["function"]
    function: Function


class ChosenFunction(Strict):
    name: Name


class ToolChoice(Strict):
    type: Literal["function"]
    function: ChosenFunction


class JsonSchema(Strict):
    name: Name
    description: str | None = None
    schema_: JsonObject | None = Field(default=None, alias="schema")
    strict: bool | None = None


class SchemaFormat(Strict):
    type: Literal["json_schema"]
    json_schema: JsonSchema


class PlainFormat(Strict):
    type: Literal["text", "json_object"]


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = True


class ChatRequest(Strict):
    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: Annotated[list[Tool], Field(min_length=1, max_length=128)] = []
    tool_choice: Literal["none", "auto", "required"] | ToolChoice = "auto"
    parallel_tool_calls: bool = True
    response_format: Annotated[SchemaFormat | PlainFormat, Field(discriminator="type")] = PlainFormat(type="text")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    logit_bias: dict[str, int] | None = None
    stop: str | Annotated[list[str], Field(min_length=1, max_length=4)] | None = None
    seed: int | None = None
    user: str = ""
    safety_identifier: Annotated[str, StringConstraints(max_length=64)] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None

    @property
    def last_user_text(self) -> str:
        """Of the last user message, its text parts joined."""
        last = next((message for message in reversed(self.messages) if isinstance(message, UserMessage)), None)
        if last is None:
            return ""
        if isinstance(last.content, str):
            return last.content
        return " ".join(part.text for part in last.content if isinstance(part, TextPart))

    @property
    def outputs(self) -> list[str]:
        """The tool outputs that the request ends with."""
        texts = []
        for message in reversed(self.messages):
            if not isinstance(message, ToolMessage):
                break
            content = message.content
            texts.append(content if isinstance(content, str) else "".join(part.text for part in content))
        return texts[::-1]


def read_request(body: object) -> ChatRequest:
    """The request in a body. Raises ``Invalid``."""
    try:
        request = ChatRequest.model_validate(body)
    except ValidationError as error:
        raise _first_of(error) from error
    _check_calls_are_answered(request)
    _check_parameters_fit_together(request)
    return request


def _first_of(error: ValidationError) -> Invalid:
    first = error.errors()[0]
    path = ""
    before: int | str = ""
    name = ""
    for key in first["loc"]:
        chosen = before == "response_format" or (isinstance(before, int) and name in {"messages", "content"})
        before = key
        if isinstance(key, int):
            path += f"[{key}]"
        elif not (chosen or key == "str" or "[" in key):  # these are tags of unions
            name = key
            path += f".{key}" if path else key
    if first["type"] == "extra_forbidden":
        return Invalid(f"Unknown parameter: '{path}'.", path, "unknown_parameter")
    if first["type"] == "missing":
        return Invalid(f"Missing required parameter: '{path}'.", path, "missing_required_parameter")
    return Invalid(f"Invalid value for '{path}': {first['msg']}.", path, "invalid_value")


def _check_calls_are_answered(request: ChatRequest) -> None:
    open_calls: list[str] = []
    for position, message in enumerate(request.messages):
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in open_calls:
                raise Invalid(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                    f"messages.[{position}].role",
                )
            open_calls.remove(message.tool_call_id)
            continue
        _check_none_open(open_calls, position)
        if isinstance(message, AssistantMessage):
            open_calls = _calls_of(message, position)
    _check_none_open(open_calls, len(request.messages))


def _check_none_open(open_calls: list[str], position: int) -> None:
    if open_calls:
        raise Invalid(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(open_calls)}",
            f"messages.[{position}].role",
        )


def _calls_of(message: AssistantMessage, position: int) -> list[str]:
    calls = [call.id for call in message.tool_calls or ()]
    if len(set(calls)) != len(calls):
        raise Invalid("Duplicate tool_call id.", f"messages.[{position}].tool_calls")
    if message.content is None and not calls and not message.refusal:
        raise Invalid("Invalid value for 'content': expected a string, got null.", f"messages.[{position}].content")
    return calls


def _check_parameters_fit_together(request: ChatRequest) -> None:
    given = request.model_fields_set
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in given and not request.tools:
            raise Invalid(f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified.", name)
    if isinstance(request.tool_choice, ToolChoice):
        names = {tool.function.name for tool in request.tools}
        if request.tool_choice.function.name not in names:
            raise Invalid("Tool choice names a function that is not in 'tools'.", "tool_choice")
    if request.stream_options is not None and not request.stream:
        raise Invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    if request.top_logprobs is not None and not request.logprobs:
        raise Invalid("The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs")
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        raise Invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.", "max_tokens"
        )
    if request.metadata is not None and not request.store:
        raise Invalid("The 'metadata' parameter is only allowed when 'store' is enabled.", "metadata")
    if isinstance(request.response_format, PlainFormat) and request.response_format.type == "json_object":
        _check_json_is_mentioned(request)


def _check_json_is_mentioned(request: ChatRequest) -> None:
    if not any(re.search("json", message.model_dump_json(), re.IGNORECASE) for message in request.messages):
        raise Invalid(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            "messages",
        )
