"""What a Responses upstream refuses in a history that this API takes, made into what it accepts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from llama_conversations.wire.events import JsonObject
from llama_conversations.wire.items import PlainMessage, plain_fields

_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
_OF_ASSISTANT = ("output_text", "refusal")


def plain_input(message: PlainMessage) -> JsonObject:
    """A plain message, as it is stored but for its id, with the texts of its role."""
    fields = plain_fields(message)
    del fields["id"]
    return in_its_role(fields)


def in_its_role(message: JsonObject) -> JsonObject:
    """A message whose texts are of the kind that its role has.

    Any part may stand in any role's message here; the hosted API takes ``output_text`` and ``refusal`` from an
    assistant alone, and only those ("Supported values are: 'output_text' and 'refusal'", observed).
    """
    content = message["content"]
    if not isinstance(content, list):
        return message
    parts = cast("Sequence[JsonObject]", content)
    return message | {"content": [_part(part, assistant=message["role"] == "assistant") for part in parts]}


def _part(part: JsonObject, *, assistant: bool) -> JsonObject:
    if assistant:
        if part["type"] in _TEXTS and part["type"] != "output_text":
            return {"type": "output_text", "text": part["text"], "annotations": []}
    elif part["type"] == "refusal":
        return {"type": "input_text", "text": part["refusal"]}
    elif part["type"] in _TEXTS and part["type"] != "input_text":
        return {"type": "input_text", "text": part["text"]}
    return part


def without_stray_thoughts(told: Iterable[JsonObject]) -> Iterator[JsonObject]:
    """The items without reasoning that led to nothing the upstream is told, such as a call that was cut off.

    The hosted API refuses it: "'reasoning' was provided without its required following item" (observed).
    """
    thoughts: list[JsonObject] = []
    for item in told:
        if item["type"] == "reasoning":
            thoughts.append(item)
            continue
        if _is_the_models(item):
            yield from thoughts
        thoughts.clear()
        yield item


def _is_the_models(item: JsonObject) -> bool:
    if item["type"] == "message":
        return item["role"] == "assistant"
    return not cast("str", item["type"]).endswith("_output")
