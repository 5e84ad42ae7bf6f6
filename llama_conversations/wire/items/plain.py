"""Messages that are nothing but text, which most items are: read without a model for each message and each part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, TypeAlias, cast, final, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.content import MAX_TEXT
from llama_conversations.wire.items.base import Item, Status
from llama_conversations.wire.items.messages import AssistantMessage, InputMessage, Role
from llama_conversations.wire.items.union import InputItem
from llama_conversations.wire.unions import Array

__all__ = [
    "NewItems",
    "PlainMessage",
    "PlainPart",
    "ToldItem",
    "item_model",
    "modelled",
    "plain_content",
    "plain_fields",
    "plain_message",
    "stored_plain_message",
]

PlainPart: TypeAlias = tuple[Literal["input_text", "output_text"], str]
"""A part's type and its text."""

_FIELDS = frozenset(("type", "status", "role", "content"))
_OUTPUT_FIELDS = frozenset(("type", "text", "annotations", "logprobs"))
_ROLES: Sequence[object] = get_args(Role)
_STORED_STATUSES: Sequence[object] = get_args(Status)
_STATUSES: Sequence[object] = (None, *_STORED_STATUSES)
_NOTHING: Sequence[object] = (None, [])
_STORED_FIELDS = len(("id", "type", "status", "role", "content"))


@final
class PlainMessage(NamedTuple):
    """A message whose parts are texts, with no field that not every message has; ``id`` if the client has sent one."""

    id: str | None
    status: Status | None
    role: Role
    parts: Sequence[PlainPart]


ToldItem: TypeAlias = PlainMessage | Item
"""An item as somebody needs it who tells it to a model: for that, a message that is nothing but text needs no model."""


def modelled(items: Iterable[ToldItem]) -> Sequence[Item]:
    """Those of the items that are more than plain messages."""
    return [item for item in items if type(item) is not PlainMessage]


def plain_message(value: object) -> PlainMessage | None:
    """Parsed JSON as a plain message without an id; ``None`` for all else, be it another item or none at all."""
    if type(value) is not dict or not _FIELDS.issuperset(value):
        return None
    given, content, status = value.get("role"), value.get("content"), value.get("status")
    if given not in _ROLES or status not in _STATUSES or value.get("type", "message") != "message":
        return None
    role = cast("Role", given)
    if type(content) is str:
        return PlainMessage(None, status, role, plain_content(role, content))
    if type(content) is not list:
        return None
    parts = [_plain_part(part) for part in content]
    return None if None in parts else PlainMessage(None, status, role, cast("list[PlainPart]", parts))


def stored_plain_message(value: object) -> PlainMessage | None:
    """A stored item, as parsed JSON, as a plain message; ``None`` for all else.

    It has just the fields that ``services/plain_messages.py`` writes, in whatever order: so nothing is lost.
    """
    if type(value) is not dict or len(value) != _STORED_FIELDS or value.get("type") != "message":
        return None
    item_id, status, role, content = value.get("id"), value.get("status"), value.get("role"), value.get("content")
    if type(item_id) is not str or status not in _STORED_STATUSES or role not in _ROLES or type(content) is not list:
        return None
    parts = [_stored_part(part) for part in content]
    if None in parts:
        return None
    return PlainMessage(item_id, cast("Status", status), cast("Role", role), cast("list[PlainPart]", parts))


def plain_fields(message: PlainMessage) -> dict[str, JsonValue]:
    """What ``stored_plain_message`` reads: all fields that a plain message has where it is stored."""
    parts: list[JsonValue] = [
        {"type": kind, "text": text}
        if kind == "input_text"
        else {"type": kind, "text": text, "annotations": [], "logprobs": []}
        for kind, text in message.parts
    ]
    item_id, status, role, _ = message
    return {"id": item_id, "type": "message", "status": status, "role": role, "content": parts}


def item_model(item: ToldItem) -> Item:
    """The item as a model, which a plain message gets now."""
    if type(item) is not PlainMessage:
        return item
    fields = plain_fields(item)
    return (AssistantMessage if item.role == "assistant" else InputMessage).model_validate(fields)


def plain_content(role: Role, text: str) -> Sequence[PlainPart]:
    """What a content that is a string stands for."""
    return (("output_text" if role == "assistant" else "input_text", text),)


def _plain_part(part: object) -> PlainPart | None:
    if type(part) is not dict:
        return None
    kind, text = part.get("type"), part.get("text")
    if type(text) is not str:
        return None
    if kind == "input_text":
        return ("input_text", text) if len(part) == len(("type", "text")) and len(text) <= MAX_TEXT else None
    is_plain = (
        kind == "output_text"
        and _OUTPUT_FIELDS.issuperset(part)
        and part.get("annotations") in _NOTHING
        and part.get("logprobs") in _NOTHING
    )
    return ("output_text", text) if is_plain else None


def _stored_part(part: object) -> PlainPart | None:
    if type(part) is not dict:
        return None
    text = part.get("text")
    if type(text) is not str:
        return None
    if part == {"type": "output_text", "annotations": [], "logprobs": [], "text": text}:
        return ("output_text", text)
    is_input = part == {"type": "input_text", "text": text} and len(text) <= MAX_TEXT
    return ("input_text", text) if is_input else None


@dataclass(frozen=True)
class _PlainFirst:
    """Annotates an item that is read as a plain message if it is one, and else as what it is."""

    def __get_pydantic_core_schema__(self, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(_plain_first, handler.generate_schema(InputItem))


def _plain_first(value: object, read: ValidatorFunctionWrapHandler) -> object:
    plain = plain_message(value)
    return read(value) if plain is None else plain


NewItems = Array[Annotated[InputItem | PlainMessage, _PlainFirst()]]
"""As ``InputItems``, for those who only store them."""
