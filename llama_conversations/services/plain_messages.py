"""Messages that are nothing but text, which most items are, made ready to be stored without a detour.

What is written is what ``prepare_item`` would write of them in its general way; a test compares the two.
"""

from __future__ import annotations

from pydantic_core import to_json

from llama_conversations.ids import new_id
from llama_conversations.storage.records import ItemRecord
from llama_conversations.wire.content import InputText, OutputText
from llama_conversations.wire.items import ITEM_TYPES, AssistantMessage, InputItem, InputMessage

__all__ = ["plain_message"]

_FIELDS = frozenset({"id", "type", "status", "role", "content"})
_INPUT_TEXT_FIELDS = frozenset({"type", "text"})
_OUTPUT_TEXT_FIELDS = frozenset({"type", "text", "annotations", "logprobs"})
_PREFIX = ITEM_TYPES["message"].prefix or ""


def plain_message(item: InputItem, partition: str) -> ItemRecord | None:
    """A message that has only texts, and no field that not every message has; ``None`` for any other item."""
    # The types are compared: pydantic makes a long way of asking whether something is an instance.
    if type(item) is not InputMessage and type(item) is not AssistantMessage:
        return None
    if not item.model_fields_set <= _FIELDS:
        return None
    if isinstance(item.content, str):
        parts = [_output_text(item.content) if item.role == "assistant" else _input_text(item.content)]
    else:
        parts = [_plain_part(part) for part in item.content]
        if "" in parts:
            return None
    item_id = item.id or new_id(_PREFIX, partition)
    head = f'{{"id":"{item_id}","type":"message","status":"{item.status or "completed"}","role":"{item.role}"'
    return ItemRecord(item_id, "message", f'{head},"content":[{",".join(parts)}]}}', None, item.id is not None)


def _plain_part(part: object) -> str:
    """A part that is text and nothing else, as JSON; empty for any other."""
    if type(part) is InputText:
        return _input_text(part.text) if part.model_fields_set <= _INPUT_TEXT_FIELDS else ""
    if type(part) is OutputText and part.model_fields_set <= _OUTPUT_TEXT_FIELDS:
        return "" if part.annotations or part.logprobs else _output_text(part.text)
    return ""


def _input_text(text: str) -> str:
    return f'{{"type":"input_text","text":{_json(text)}}}'


def _output_text(text: str) -> str:
    return f'{{"type":"output_text","annotations":[],"logprobs":[],"text":{_json(text)}}}'


def _json(text: str) -> str:
    return to_json(text).decode()
