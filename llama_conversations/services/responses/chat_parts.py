"""What an item says in a chat: somebody speaks, the assistant calls a tool, a tool answers, or nothing.

Tools that only the Responses API knows (custom tools, shells, patches, MCP, computers, searches) are told as functions:
chat completions know no others. What a hosted tool kept to itself (a generated image, encrypted reasoning) is left out;
docs/compatibility.md has the list.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock
from typing import TypeAlias, cast

import orjson
from pydantic_core import to_json

from llama_conversations.errors import UnsupportedParameter
from llama_conversations.services.responses.files import file_text
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.content import (
    InputAudio,
    InputFile,
    InputImage,
    InputText,
    OutputText,
    Refusal,
    Text,
)
from llama_conversations.wire.events import JsonObject
from llama_conversations.wire.items import (
    ApplyPatchCall,
    ApplyPatchCallOutput,
    CodeInterpreterCall,
    Compaction,
    ComputerCall,
    ComputerCallOutput,
    CustomToolCall,
    CustomToolCallOutput,
    FileSearchCall,
    FunctionCall,
    FunctionCallOutput,
    Item,
    LocalShellCall,
    LocalShellCallOutput,
    McpApprovalRequest,
    McpApprovalResponse,
    McpCall,
    Message,
    PlainMessage,
    ShellCall,
    ShellCallOutput,
    ToldItem,
    WebSearch,
    WebSearchCall,
    modelled,
)


@dataclass(frozen=True, slots=True)
class Speech:
    """Somebody speaks: text, or parts of a user's message."""

    role: str
    content: JsonValue


@dataclass(frozen=True, slots=True)
class Call:
    """The assistant calls a tool; ``arguments`` is JSON as text."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A tool answers a call."""

    call_id: str
    text: str
    images: Sequence[JsonObject] = ()


Utterance: TypeAlias = Speech | Call | Answer

MESSAGES = (PlainMessage, Message)
"""The classes of what somebody said; a tuple, since there are many items to be asked for it."""

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
"""Model servers other than OpenAI's know no developer role; OpenAI's takes system for it (Chat Completions, roles)."""

WEB_SEARCH = "web_search"
"""What the model calls the web search, unless the client has a function of that name."""

MAX_NAME = 64
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")

SUMMARY = "Summary of the conversation so far:\n\n"
REFUSED = "The user did not allow this call."

_NOTHING_FOUND = "Nothing was found."


ServerRun: TypeAlias = McpCall | McpApprovalRequest | WebSearchCall
"""A call that this server runs, or would run if the client let it."""

Named: TypeAlias = Callable[[ServerRun], str]
"""By what name the model knows the tool of a call: the one that it is offered, where it is offered."""


def plain_name(item: ServerRun) -> str:
    """A tool's own name, as far as chat completions let functions be called by it."""
    return WEB_SEARCH if isinstance(item, WebSearchCall) else function_name(item.name)


def utterances(
    items: Sequence[ToldItem], unseal: Callable[[str], str | None], named: Named = plain_name
) -> Iterator[Utterance]:
    """What the items say, in their order.

    Errors: ``UnsupportedParameter`` and ``InvalidParameter`` for content that cannot be carried.
    """
    refused = _refused_requests(modelled(items))
    # In the middle of a loop of tools nothing but the summary may be left, and some templates demand a user's message.
    asked = any(isinstance(item, MESSAGES) and item.role == "user" for item in items)
    for item in items:
        if isinstance(item, MESSAGES):
            yield Speech(_ROLES[item.role], _content(item))
        elif isinstance(item, Compaction):
            summary = unseal(item.encrypted_content)
            if summary is not None:
                yield Speech("system" if asked else "user", SUMMARY + summary)
        elif isinstance(item, McpApprovalRequest):
            if item.id in refused:
                yield Call(item.id, named(item), told_arguments(item.arguments))
                yield Answer(item.id, refused[item.id])
        elif isinstance(item, McpCall):
            yield from _mcp_call(item, named(item))
        elif isinstance(item, WebSearchCall):
            yield from web_search(item, named(item))
        else:
            told = _TOLD.get(type(item))
            if told is not None:
                yield from told(item)


def call_ids(items: Sequence[ToldItem]) -> set[str]:
    """The ids of all calls that the items make."""
    return {item.call_id for item in modelled(items) if isinstance(item, _CALLS)}


_CALLS = (FunctionCall, CustomToolCall, ShellCall, LocalShellCall, ApplyPatchCall, ComputerCall)


def _refused_requests(items: Sequence[Item]) -> Mapping[str, str]:
    """By their ids, the requests for leave that the client refused, each with what the model is told."""
    return {
        item.approval_request_id: f"{REFUSED} {item.reason}" if item.reason else REFUSED
        for item in items
        if isinstance(item, McpApprovalResponse) and not item.approve
    }


def _content(message: PlainMessage | Message) -> JsonValue:
    """Text as a string where there is only text; an assistant's parts are joined, since servers take no parts of it."""
    if isinstance(message, PlainMessage):
        return _plain_content(message)
    parts = message.content
    if isinstance(parts, str):
        return parts
    if message.role == "assistant":
        return "".join(_text_of(part) for part in parts)
    if len(parts) == 1 and isinstance(parts[0], InputText | Text):
        return parts[0].text
    return [chat_part(part) for part in parts]


def _plain_content(message: PlainMessage) -> JsonValue:
    """As ``_content``."""
    texts = [text for _, text in message.parts]
    if message.role == "assistant":
        return "".join(texts)
    if [kind for kind, _ in message.parts] == ["input_text"]:
        return texts[0]
    return [{"type": "text", "text": text} for text in texts]


def _text_of(part: object) -> str:
    if isinstance(part, OutputText | InputText | Text):
        return part.text
    if isinstance(part, Refusal):
        return part.refusal
    kind = getattr(part, "type", type(part).__name__)
    raise UnsupportedParameter("input", f"Content of type '{kind}' cannot be sent to this model.")


def chat_part(part: object) -> JsonObject:
    """A content part as chat completions write it. Errors: as of ``utterances``."""
    if isinstance(part, InputImage):
        return _image(part.image_url, part.detail)
    if isinstance(part, InputAudio):
        audio: JsonObject = {"data": part.input_audio.data, "format": part.input_audio.format}
        return {"type": "input_audio", "input_audio": audio}
    if isinstance(part, InputFile):
        return {"type": "text", "text": _READ_FILES.text(part)}
    return {"type": "text", "text": _text_of(part)}


def _image(url: str | None, detail: str | None) -> JsonObject:
    if url is None:
        raise UnsupportedParameter("input", "Images by 'file_id' are not supported by this server: send 'image_url'.")
    image: JsonObject = {"url": url}
    if detail not in (None, "auto"):
        image["detail"] = detail
    return {"type": "image_url", "image_url": image}


def _answer(call_id: str, output: object) -> Answer:
    """A tool's output: a string, or content parts."""
    if isinstance(output, str):
        return Answer(call_id, output)
    parts = [chat_part(part) for part in cast("Sequence[object]", output)]
    texts = [str(part["text"]) for part in parts if part["type"] == "text"]
    return Answer(call_id, "".join(texts), [part for part in parts if part["type"] != "text"])


class _ReadFiles:
    """Texts of files that were read lately: a conversation has its files in every turn."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._texts: OrderedDict[bytes, str] = OrderedDict()
        self._lock = Lock()

    def text(self, part: InputFile) -> str:
        """The text of a file, as ``file_text``."""
        key = sha256(part.model_dump_json().encode()).digest()
        with self._lock:
            if key in self._texts:
                self._texts.move_to_end(key)
                return self._texts[key]
        text = file_text(part)
        with self._lock:
            self._texts[key] = text
            while len(self._texts) > self._size:
                self._texts.popitem(last=False)
        return text


_READ_FILES = _ReadFiles(32)


def function_name(name: str) -> str:
    """A tool's name as chat completions let functions be called; MCP allows more (``files.read``)."""
    return _NOT_IN_NAMES.sub("_", name)[:MAX_NAME] or "_"


def told_arguments(arguments: str) -> str:
    """The arguments of a call that was made, as every model server takes them: an object.

    llama.cpp, vLLM and Ollama parse the arguments of earlier calls and refuse the whole history where that fails
    (ggml-org/llama.cpp#25510, vllm-project/vllm#43995): after one malformed call no model could be asked again.
    """
    try:
        written = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        written = None
    return arguments or "{}" if isinstance(written, dict) else _json({"malformed": arguments})


def _json(value: object) -> str:
    return to_json(value, exclude_none=True).decode()


def _function_call(item: FunctionCall) -> Iterator[Utterance]:
    if item.status != "incomplete":  # cut off in the middle: it was never made
        yield Call(item.call_id, item.name, told_arguments(item.arguments))


def _custom_call(item: CustomToolCall) -> Iterator[Utterance]:
    if item.status != "incomplete":
        yield Call(item.call_id, item.name, _json({"input": item.input}))


def _output(item: FunctionCallOutput | CustomToolCallOutput) -> Iterator[Utterance]:
    yield _answer(item.call_id, item.output)


def _mcp_call(item: McpCall, name: str) -> Iterator[Utterance]:
    if item.output is None and item.error is None:
        return
    yield Call(item.id, name, told_arguments(item.arguments))
    yield Answer(item.id, item.output if item.error is None else f"Error: {_json(item.error)}")  # type: ignore[arg-type]


def _shell_call(item: ShellCall) -> Iterator[Utterance]:
    yield Call(item.call_id, "shell", _json(item.action))


def _local_shell_call(item: LocalShellCall) -> Iterator[Utterance]:
    yield Call(item.call_id, "local_shell", _json(item.action))


def _apply_patch_call(item: ApplyPatchCall) -> Iterator[Utterance]:
    yield Call(item.call_id, "apply_patch", _json(item.operation))


def _computer_call(item: ComputerCall) -> Iterator[Utterance]:
    asked = {"action": item.action, "actions": item.actions}
    yield Call(item.call_id, "computer", _json({name: done for name, done in asked.items() if done is not None}))


def _computer_output(item: ComputerCallOutput) -> Iterator[Utterance]:
    url = item.output.image_url
    yield Answer(item.call_id, "A screenshot.", [] if url is None else [_image(url, None)])


def _json_output(item: ShellCallOutput) -> Iterator[Utterance]:
    yield Answer(item.call_id, _json(item.output))


def _local_shell_output(item: LocalShellCallOutput) -> Iterator[Utterance]:
    call_id = (item.model_extra or {}).get("call_id")  # not in the reference; some clients send it
    yield Answer(call_id if isinstance(call_id, str) else item.id, item.output)


def _patch_output(item: ApplyPatchCallOutput) -> Iterator[Utterance]:
    yield Answer(item.call_id, item.output or item.status)


def _file_search(item: FileSearchCall) -> Iterator[Utterance]:
    if item.results:
        yield Call(item.id, "file_search", _json({"queries": item.queries}))
        yield Answer(item.id, _json(item.results))


def web_search(item: WebSearchCall, name: str) -> Iterator[Call | Answer]:
    """A search that has ended, as a call and its answer.

    Nothing for one whose results were not kept, and for a page that was opened or looked through.
    """
    action = item.action
    query = (action.query or "; ".join(action.queries or ())) if isinstance(action, WebSearch) else ""
    if query and item.status in ("completed", "failed") and (found := _found(item)) is not None:
        yield Call(item.id, name, _json({"query": query}))
        yield Answer(item.id, found)


def _found(item: WebSearchCall) -> str | None:
    """What a search brought, as far as the item tells.

    ``results`` and ``error`` are no fields of the API's reference: within the turn that searches, items have them.
    """
    extra, action = item.model_extra or {}, item.action
    if item.status == "failed":
        return f"Error: {extra.get('error') or 'The search failed.'}"
    results = extra.get("results")
    if isinstance(results, list):
        return _json(results) if results else _NOTHING_FOUND
    sources = action.sources if isinstance(action, WebSearch) else None
    return None if sources is None else _json([source.url for source in sources])


def _code_interpreter(item: CodeInterpreterCall) -> Iterator[Utterance]:
    if item.outputs:
        yield Call(item.id, "code_interpreter", _json({"code": item.code}))
        yield Answer(item.id, _json(item.outputs))


_TOLD: Mapping[type, Callable[[object], Iterator[Utterance]]] = cast(
    "Mapping[type, Callable[[object], Iterator[Utterance]]]",
    {
        FunctionCall: _function_call,
        FunctionCallOutput: _output,
        CustomToolCall: _custom_call,
        CustomToolCallOutput: _output,
        ShellCall: _shell_call,
        ShellCallOutput: _json_output,
        LocalShellCall: _local_shell_call,
        LocalShellCallOutput: _local_shell_output,
        ApplyPatchCall: _apply_patch_call,
        ApplyPatchCallOutput: _patch_output,
        ComputerCall: _computer_call,
        ComputerCallOutput: _computer_output,
        FileSearchCall: _file_search,
        CodeInterpreterCall: _code_interpreter,
    },
)
