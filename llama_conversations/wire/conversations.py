"""Conversations over HTTP (OpenAI API reference, Conversations)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from llama_conversations.wire.base import MAX_BATCH_ITEMS, Metadata, RequestModel, WireModel
from llama_conversations.wire.items import NewItems, StoredItem

ItemBatch = Annotated[NewItems, Field(max_length=MAX_BATCH_ITEMS)]
"""At most 20 items; all of them are added, or none."""


class CreateConversation(RequestModel):
    """Body of ``POST /conversations``; may be absent altogether."""

    metadata: Metadata | None = None
    items: ItemBatch | None = None


class UpdateConversation(RequestModel):
    """Body of ``POST /conversations/{id}``: replaces the metadata as a whole; null empties it."""

    metadata: Metadata | None


class CreateItems(RequestModel):
    """Body of ``POST /conversations/{id}/items``."""

    items: ItemBatch


class Conversation(WireModel):
    """A conversation; ``created_at`` in whole seconds since 1970."""

    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: dict[str, str]


class ConversationDeleted(WireModel):
    """Answer to ``DELETE /conversations/{id}``."""

    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: Literal[True] = True


class ConversationList(WireModel):
    """A page of conversations (an extension: the hosted API cannot list them)."""

    object: Literal["list"] = "list"
    data: list[Conversation]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ItemList(WireModel):
    """A page of items; ``first_id`` and ``last_id`` are of this page, null when it is empty."""

    object: Literal["list"] = "list"
    data: list[StoredItem]
    first_id: str | None
    last_id: str | None
    has_more: bool
