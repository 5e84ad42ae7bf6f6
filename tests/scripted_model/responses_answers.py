"""A response, whole or as the events that build it up (OpenAI API reference, Responses, streaming events)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from scripted_model.answers import Answer, JsonObject, Step


@dataclass(frozen=True)
class Reply:
    """What is answered.

    Attributes:
        output: Its items, whole.
        reason: Why it is incomplete, if it is.
        fixed: Instead of all else, a refusal or another fixed answer.
        cut: What happens in the middle of the last item of a stream; nothing comes behind a ``drop`` or an ``error``.
        terminal: Whether a stream has its last event.
        events: Whether the items are streamed, or only shown by the last event.
    """

    output: tuple[JsonObject, ...] = ()
    reason: str | None = None
    fixed: Answer | None = None
    cut: Step | None = None
    terminal: bool = True
    events: bool = True


def whole_response(head: JsonObject, reply: Reply) -> JsonObject:
    """The response object."""
    status = "completed" if reply.reason is None else "incomplete"
    details = None if reply.reason is None else {"reason": reply.reason}
    usage = {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 16,
    }
    return head | {
        "status": status,
        "incomplete_details": details,
        "error": None,
        "output": list(reply.output),
        "usage": usage,
    }


def failed_response(head: JsonObject, error: JsonObject) -> JsonObject:
    """The response object of one that failed."""
    return head | {"status": "failed", "error": error, "incomplete_details": None, "output": [], "usage": None}


def response_events(head: JsonObject, reply: Reply) -> Iterator[Step]:
    """The stream, numbered; pauses stand between events."""
    number = 0
    for step in _steps(head, reply):
        if step.kind == "chunk":
            yield Step("chunk", step.value | {"sequence_number": number})
            number += 1
        else:
            yield step


def _steps(head: JsonObject, reply: Reply) -> Iterator[Step]:
    begun = head | {"status": "in_progress", "error": None, "incomplete_details": None, "output": [], "usage": None}
    yield _event("response.created", response=begun)
    yield _event("response.in_progress", response=begun)
    for index, item in enumerate(reply.output if reply.events else ()):
        events = [_event(event.pop("type"), output_index=index, **event) for event in _of_item(item)]
        if reply.cut is not None and index == len(reply.output) - 1:
            yield from events[:-2]
            yield reply.cut
            if reply.cut.kind in {"drop", "chunk"}:
                return
            events = events[-2:]
        yield from events
    if reply.terminal:
        response = whole_response(head, reply)
        yield _event(f"response.{response['status']}", response=response)


def _event(kind: str, **fields: object) -> Step:
    return Step("chunk", {"type": kind, **fields})


def _of_item(item: JsonObject) -> Iterator[JsonObject]:
    name = {"item_id": item["id"]} if "id" in item else {}
    yield {"type": "response.output_item.added", "item": _begun(item)}
    for event in _BODIES[item["type"]](item):
        yield event | name
    yield {"type": "response.output_item.done", "item": item}


def _begun(item: JsonObject) -> JsonObject:
    empty: JsonObject = {"content": [], "summary": [], "arguments": "", "input": ""}
    begun = {key: empty.get(key, value) for key, value in item.items() if key not in {"action", "encrypted_content"}}
    return begun | ({"status": "in_progress"} if "status" in item else {})


def _pieces(text: str) -> list[str]:
    return re.findall(r"\S+\s*", text)


def _message(item: JsonObject) -> Iterator[JsonObject]:
    for index, part in enumerate(item["content"]):
        here = {"content_index": index}
        kind, key = ("refusal", "refusal") if part["type"] == "refusal" else ("output_text", "text")
        empty = part | {key: ""} | ({"annotations": []} if "annotations" in part else {})
        yield {"type": "response.content_part.added", **here, "part": empty}
        more = {} if kind == "refusal" else {"logprobs": []}
        for piece in _pieces(part[key]):
            yield {"type": f"response.{kind}.delta", **here, "delta": piece, **more, "obfuscation": "Xq7"}
        for number, annotation in enumerate(part.get("annotations", ())):
            told = {"annotation_index": number, "annotation": annotation}
            yield {"type": "response.output_text.annotation.added", **here, **told}
        yield {"type": f"response.{kind}.done", **here, key: part[key], **more}
        yield {"type": "response.content_part.done", **here, "part": part}


def _reasoning(item: JsonObject) -> Iterator[JsonObject]:
    for index, part in enumerate(item["summary"]):
        here = {"summary_index": index}
        yield {"type": "response.reasoning_summary_part.added", **here, "part": part | {"text": ""}}
        for piece in _pieces(part["text"]):
            yield {"type": "response.reasoning_summary_text.delta", **here, "delta": piece}
        yield {"type": "response.reasoning_summary_text.done", **here, "text": part["text"]}
        yield {"type": "response.reasoning_summary_part.done", **here, "part": part}


def _function_call(item: JsonObject) -> Iterator[JsonObject]:
    text = item["arguments"]
    for piece in (text[:8], text[8:]):
        yield {"type": "response.function_call_arguments.delta", "delta": piece}
    yield {"type": "response.function_call_arguments.done", "name": item["name"], "arguments": text}


def _custom_tool_call(item: JsonObject) -> Iterator[JsonObject]:
    yield {"type": "response.custom_tool_call_input.delta", "delta": item["input"]}
    yield {"type": "response.custom_tool_call_input.done", "input": item["input"]}


def _search(item: JsonObject) -> Iterator[JsonObject]:
    for stage in ("in_progress", "searching", "completed"):
        yield {"type": f"response.{item['type']}.{stage}"}


def _code_interpreter_call(item: JsonObject) -> Iterator[JsonObject]:
    yield {"type": "response.code_interpreter_call.in_progress"}
    for piece in (item["code"][:2], item["code"][2:]):
        yield {"type": "response.code_interpreter_call_code.delta", "delta": piece, "obfuscation": "Xq7"}
    yield {"type": "response.code_interpreter_call_code.done", "code": item["code"]}
    yield {"type": "response.code_interpreter_call.interpreting"}
    yield {"type": "response.code_interpreter_call.completed"}


def _image_generation_call(item: JsonObject) -> Iterator[JsonObject]:
    yield {"type": "response.image_generation_call.in_progress"}
    yield {"type": "response.image_generation_call.generating"}
    for index in range(2):
        told = {"partial_image_index": index, "partial_image_b64": item["result"]}
        yield {"type": "response.image_generation_call.partial_image", **told}
    yield {"type": "response.image_generation_call.completed"}


def _other(item: JsonObject) -> Iterator[JsonObject]:
    yield from ()


_BODIES = {
    "message": _message,
    "reasoning": _reasoning,
    "function_call": _function_call,
    "custom_tool_call": _custom_tool_call,
    "web_search_call": _search,
    "file_search_call": _search,
    "code_interpreter_call": _code_interpreter_call,
    "image_generation_call": _image_generation_call,
    "telepathy_call": _other,
}
