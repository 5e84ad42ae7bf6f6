"""What all items have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from llama_conversations.ids import MAX_ID_LENGTH
from llama_conversations.wire.base import OpenModel

__all__ = ["CallId", "Caller", "Item", "ItemId", "KnownItem", "Status"]

ItemId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern="^[A-Za-z0-9_-]+$")]
CallId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Status = Literal["in_progress", "completed", "incomplete"]


class Item(OpenModel):
    """One entry of a conversation or of a turn's input; ``id`` is assigned when it is absent or null."""

    id: ItemId | None = None
    type: str


class KnownItem(Item):
    """An item that the client knows from an earlier answer: it comes with its id."""

    id: ItemId


class Caller(OpenModel):
    """What made a tool call: the model itself, or a program that it wrote."""

    type: Literal["direct", "program"]
    caller_id: CallId | None = None
