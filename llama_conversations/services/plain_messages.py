"""Messages that are nothing but text, which most items are, made ready to be stored without a detour.

What is written is what ``prepare_item`` would write of them in its general way; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from pydantic_core import to_json

from llama_conversations.ids import new_id
from llama_conversations.storage.records import ItemRecord
from llama_conversations.wire.content import ContentPart, InputText, OutputText
from llama_conversations.wire.items import (
    ITEM_TYPES,
    AssistantMessage,
    InputItem,
    InputMessage,
    PlainMessage,
    PlainPart,
    plain_content,
)

__all__ = ["plain_of", "plain_record"]

_FIELDS = frozenset({"id", "type", "status", "role", "content"})
_INPUT_TEXT_FIELDS = frozenset({"type", "text"})
_OUTPUT_TEXT_FIELDS = frozenset({"type", "text", "annotations", "logprobs"})
_PREFIX = ITEM_TYPES["message"].prefix or ""
_BEFORE_TEXT = {
    "input_text": '{"type":"input_text","text":',
    "output_text": '{"type":"output_text","annotations":[],"logprobs":[],"text":',
}


def plain_record(message: PlainMessage, partition: str) -> ItemRecord:
    """A plain message as it is stored; a new id begins with ``partition``."""
    given_id, status, role, parts = message
    item_id = given_id or new_id(_PREFIX, partition)
    texts = ",".join([f"{_BEFORE_TEXT[kind]}{to_json(text).decode()}}}" for kind, text in parts])
    head = f'{{"id":"{item_id}","type":"message","status":"{status or "completed"}","role":"{role}"'
    return ItemRecord(item_id, "message", f'{head},"content":[{texts}]}}', None, given_id is not None)


def plain_of(item: InputItem) -> PlainMessage | None:
    """The item as a plain message; ``None`` if it is more, or something else."""
    # The types are compared: pydantic makes a long way of asking whether something is an instance.
    if type(item) is not InputMessage and type(item) is not AssistantMessage:
        return None
    if not item.model_fields_set <= _FIELDS:
        return None
    parts = plain_content(item.role, item.content) if isinstance(item.content, str) else _plain_parts(item.content)
    return None if parts is None else PlainMessage(item.id, item.status, item.role, parts)


def _plain_parts(content: Sequence[ContentPart]) -> Sequence[PlainPart] | None:
    parts = [_plain_part(part) for part in content]
    return None if None in parts else cast("list[PlainPart]", parts)


def _plain_part(part: ContentPart) -> PlainPart | None:
    if type(part) is InputText:
        return (part.type, part.text) if part.model_fields_set <= _INPUT_TEXT_FIELDS else None
    if type(part) is OutputText and part.model_fields_set <= _OUTPUT_TEXT_FIELDS:
        return None if part.annotations or part.logprobs else (part.type, part.text)
    return None
