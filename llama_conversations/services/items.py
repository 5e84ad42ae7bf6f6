"""Items on their way in and out: what a client sends becomes what is stored, and that becomes what a caller sees.

What is stored is the JSON text that is served. A client may send any of it back as it came, and the same is stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias, cast

from pydantic_core import from_json, to_json

from llama_conversations.errors import InvalidParameter
from llama_conversations.ids import new_id
from llama_conversations.services.plain_messages import plain_of, plain_record
from llama_conversations.storage.records import ItemRecord
from llama_conversations.wire.items import (
    INCLUDABLE,
    ITEM_TYPES,
    AssistantMessage,
    CustomToolCallOutput,
    FunctionCallOutput,
    Include,
    InputItem,
    Item,
    ItemReference,
    Message,
    PlainMessage,
    Reasoning,
)

__all__ = [
    "Include",
    "apply_include",
    "check_id_prefix",
    "id_prefix",
    "masked",
    "prepare_item",
]

_Fields: TypeAlias = dict[str, object]

_ALL: frozenset[str] = frozenset(INCLUDABLE)


def prepare_item(item: InputItem | PlainMessage, partition: str, param: str = "item") -> ItemRecord:
    """An item as it is stored and served: with an id, with the fields that its type always has, with typed content.

    Fields that the client did not send stay absent, but for those; what it sent stays as it was, unknown fields too.

    Args:
        partition: The token that a new id begins with: that of the conversation or the response.
        param: Where the item stands in the request.

    Raises:
        InvalidParameter: The item cannot be stored: a ``compaction_trigger``, or reasoning that has neither an ``id``
            nor ``encrypted_content``.
    """
    if isinstance(item, PlainMessage):
        return plain_record(item, partition)
    plain = plain_of(item)
    if plain is not None:
        return plain_record(plain, partition)
    if isinstance(item, ItemReference):
        raise TypeError("a reference is resolved to the item that it names before it is stored")
    if not isinstance(item, Item):
        raise InvalidParameter(
            f"Invalid value: an item of type '{item.type}' cannot be stored in a conversation.", param=param
        )
    if isinstance(item, Reasoning) and item.id is None and item.encrypted_content is None:
        message = "Invalid item: a reasoning item needs an 'id' or 'encrypted_content'."
        raise InvalidParameter(message, param="item", code="invalid_item")
    item_id = item.id or new_id(id_prefix(item.type), partition)
    fields = _stored(item, item_id)
    view = _view(fields, ())
    return ItemRecord(
        id=item_id,
        type=item.type,
        data=_text(fields),
        masked=None if view is fields else _text(view),
        client_id=item.id is not None,
    )


def apply_include(data: str, include: Collection[Include]) -> str:
    """A stored item as a caller sees it who asked for ``include``: JSON text in, JSON text out.

    Where ``ItemRecord.masked`` is ``None`` there is nothing to hide, and ``data`` itself serves everybody.
    """
    if _ALL.issubset(include):
        return data
    fields = cast("_Fields", from_json(data))
    view = _view(fields, include)
    return data if view is fields else _text(view)


def masked(data: str) -> str:
    """A stored item as a caller sees it who asked for nothing."""
    return apply_include(data, ())


def id_prefix(item_type: str) -> str:
    """How the ids begin that are made for items of a type, such as ``msg`` (OpenAI API, as observed).

    Raises:
        LookupError: There is no such type, or it is never stored.
    """
    prefix = ITEM_TYPES[item_type].prefix
    if prefix is None:
        raise LookupError(f"items of type {item_type} are not stored")
    return prefix


def check_id_prefix(item: InputItem, param: str) -> None:
    """Refuses an item of a turn's input whose id does not begin as ids of its type do; ``param`` is the item's path.

    Only prefixes that OpenAI's own ids are known to have are asked for.

    Raises:
        InvalidParameter: On ``param.id``.
    """
    if not isinstance(item, Item) or item.id is None:
        return
    kind = ITEM_TYPES[item.type]
    if kind.prefix is not None and kind.prefix_checked and not item.id.startswith(kind.prefix):
        raise InvalidParameter(
            f"Invalid '{param}.id': '{item.id}'. Expected an ID that begins with '{kind.prefix}'.", param=f"{param}.id"
        )


def _stored(item: Item, item_id: str) -> _Fields:
    fields: _Fields = item.model_dump(exclude_unset=True)
    if isinstance(item, Message):
        fields["content"] = _content(item, fields["content"])
    elif isinstance(item, FunctionCallOutput | CustomToolCallOutput) and isinstance(item.output, list):
        fields["output"] = [_stored_part(part) for part in cast("list[_Fields]", fields["output"])]
    elif isinstance(item, Reasoning):
        fields.pop("status", None)  # the hosted API serves none, and refuses one that is sent back to it
    return _arranged({"id": item_id, "type": item.type}, ITEM_TYPES[item.type].stored, fields)


def _content(message: Message, content: object) -> list[_Fields]:
    if isinstance(content, str):
        kind = "output_text" if isinstance(message, AssistantMessage) else "input_text"
        return [_stored_part({"type": kind, "text": content})]
    return [_stored_part(part) for part in cast("list[_Fields]", content)]


_IMAGE: Mapping[str, object] = {"detail": "auto", "file_id": None, "image_url": None}

_STORED_PARTS: Mapping[str, Mapping[str, object]] = {
    "output_text": {"annotations": (), "logprobs": ()},
    "input_image": _IMAGE,
    "input_file": {"file_id": None, "filename": None},
    "computer_screenshot": _IMAGE,
}
"""What the stored form of a content part always has, with the value that stands for an absent one."""


def _stored_part(part: _Fields) -> _Fields:
    always = _STORED_PARTS.get(cast("str", part["type"]))
    return part if always is None else _arranged({"type": part["type"]}, always, part)


def _arranged(first: _Fields, always: Mapping[str, object], fields: _Fields) -> _Fields:
    """The fields in an order that depends on their names alone, so that a stored text sent back is the same text."""
    for key, value in always.items():
        found = fields.get(key)
        first[key] = value if found is None else found
    return first | {key: value for key, value in fields.items() if key not in first}


_HIDDEN_FIELDS: Mapping[str, str] = {"file_search_call": "results", "code_interpreter_call": "outputs"}
"""By type of item: the field that is null where ``include`` does not ask for ``type.field``."""


def _view(fields: _Fields, include: Collection[str]) -> _Fields:
    """The item without what ``include`` does not ask for; the same object where there is nothing to hide."""
    kind = cast("str", fields["type"])
    if kind == "message":
        parts = cast("list[_Fields]", fields["content"])
        views = [_part_view(part, include) for part in parts]
        unchanged = all(view is part for view, part in zip(views, parts, strict=True))
        return fields if unchanged else {**fields, "content": views}
    hidden = _HIDDEN_FIELDS.get(kind)
    if hidden is None or fields.get(hidden) is None or f"{kind}.{hidden}" in include:
        return fields
    return {**fields, hidden: None}


def _part_view(part: _Fields, include: Collection[str]) -> _Fields:
    kind = part["type"]
    if kind == "output_text" and part.get("logprobs") and "message.output_text.logprobs" not in include:
        return {**part, "logprobs": ()}
    if "message.input_image.image_url" in include:
        return part
    if kind == "input_image" and part.get("image_url") is not None:
        return {**part, "image_url": None}
    if kind == "input_file" and "file_data" in part:
        # No value of ``include`` names a file's data: it comes with the other media that a message carries inline.
        return {key: value for key, value in part.items() if key != "file_data"}
    return part


def _text(fields: _Fields) -> str:
    return to_json(fields).decode()
