"""Items as chat completion messages, byte-stable: the same items give the same bytes.

So a turn's messages are a prefix of the next turn's, unless items were edited between them, and a model server that
caches by prefix reads only what is new. What becomes of each type of item is listed in docs/compatibility.md.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence

import orjson

from llama_conversations.errors import InvalidParameter, UnsupportedParameter
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
from llama_conversations.wire.items import FunctionCall, FunctionCallOutput, Item, Message

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
"""Model servers other than OpenAI's know no developer role; OpenAI's takes system for it (Chat Completions, roles)."""


def chat_messages(instructions: str | None, items: Sequence[Item]) -> list[bytes]:
    """The messages that the model is given, each as JSON.

    A tool's output stands right behind the message that calls it, wherever it stands among the items: model servers
    demand that.

    Errors: ``InvalidParameter`` for a call without output or an output without call, ``UnsupportedParameter`` for
    content that chat completions cannot carry.
    """
    messages = [] if instructions is None else [_message("system", instructions)]
    messages.extend(orjson.dumps(message) for message in _Conversion(items).messages())
    return messages


class _Conversion:
    """One pass over the items; calls are gathered until a message comes, so parallel calls share one.

    A call that comes after an output was made in a later turn: it begins a message of its own.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self._outputs = _outputs_by_call(items)
        self._pending: JsonObject | None = None
        self._calls: list[FunctionCall] = []
        self._answered = False

    def messages(self) -> Iterator[JsonObject]:
        for item in self._items:
            if isinstance(item, FunctionCall):
                if self._answered:
                    yield from self._flush()
                if item.status != "incomplete":  # cut off in the middle: it was never made
                    self._calls.append(item)
            elif isinstance(item, FunctionCallOutput):
                self._answered = bool(self._calls)
            elif isinstance(item, Message):
                yield from self._flush()
                message: JsonObject = {"role": _ROLES[item.role], "content": _content(item)}
                if item.role == "assistant":
                    self._pending = message
                else:
                    yield message
        yield from self._flush()
        for call_id, left in self._outputs.items():
            if left:
                raise _unpaired(f"No tool call found for function call output with call_id {call_id}.")

    def _flush(self) -> Iterator[JsonObject]:
        """The assistant's message that is pending, with the calls behind it and their outputs."""
        if not self._calls:
            if self._pending is not None:
                yield self._pending
        else:
            message = self._pending or {"role": "assistant", "content": None}
            yield message | {"tool_calls": [_tool_call(call) for call in self._calls]}
            for call in self._calls:
                outputs = self._outputs[call.call_id]
                if not outputs:
                    raise _unpaired(f"No tool output found for function call {call.call_id}.")
                yield {"role": "tool", "tool_call_id": call.call_id, "content": _tool_content(outputs.popleft())}
        self._pending, self._calls, self._answered = None, [], False


def _outputs_by_call(items: Iterable[Item]) -> defaultdict[str, deque[FunctionCallOutput]]:
    """Outputs by their call's id, oldest first: some models give the same id to calls of different turns."""
    outputs: defaultdict[str, deque[FunctionCallOutput]] = defaultdict(deque)
    for item in items:
        if isinstance(item, FunctionCallOutput):
            outputs[item.call_id].append(item)
    return outputs


def _message(role: str, content: str) -> bytes:
    return orjson.dumps({"role": role, "content": content})


def _tool_call(call: FunctionCall) -> JsonObject:
    return {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _content(message: Message) -> JsonValue:
    """Text as a string where there is only text; an assistant's parts are joined, since servers take no parts of it."""
    parts = message.content
    if isinstance(parts, str):
        return parts
    if message.role == "assistant":
        return "".join(_text_of(part) for part in parts)
    if len(parts) == 1 and isinstance(parts[0], InputText | Text):
        return parts[0].text
    return [_part(part) for part in parts]


def _tool_content(output: FunctionCallOutput) -> JsonValue:
    if isinstance(output.output, str):
        return output.output
    if all(isinstance(part, InputText) for part in output.output):
        return "".join(_text_of(part) for part in output.output)
    return [_part(part) for part in output.output]


def _text_of(part: object) -> str:
    if isinstance(part, OutputText | InputText | Text):
        return part.text
    if isinstance(part, Refusal):
        return part.refusal
    raise _no_place(part)


def _part(part: object) -> JsonObject:
    if isinstance(part, InputImage) and part.image_url is not None:
        url: JsonObject = {"url": part.image_url}
        if part.detail not in (None, "auto"):
            url["detail"] = part.detail
        return {"type": "image_url", "image_url": url}
    if isinstance(part, InputAudio):
        audio: JsonObject = {"data": part.input_audio.data, "format": part.input_audio.format}
        return {"type": "input_audio", "input_audio": audio}
    if isinstance(part, InputFile):
        raise _no_place(part)
    return {"type": "text", "text": _text_of(part)}


def _no_place(part: object) -> UnsupportedParameter:
    kind = getattr(part, "type", type(part).__name__)
    return UnsupportedParameter("input", f"Content of type '{kind}' cannot be sent to this model as it stands.")


def _unpaired(message: str) -> InvalidParameter:
    return InvalidParameter(message, param="input", code=None)
