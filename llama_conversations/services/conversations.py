"""The Conversations API, implemented over a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import orjson

from llama_conversations.access import AccessScope, current_scope
from llama_conversations.apis.conversations import Conversations, Order
from llama_conversations.ids import CONVERSATION_PREFIX, new_id, partition_of
from llama_conversations.services.items import apply_include
from llama_conversations.services.pages import list_page, page_query
from llama_conversations.services.references import ItemFinder, prepare_input
from llama_conversations.storage.effects import answered
from llama_conversations.storage.records import MICROSECONDS, ConversationRecord, ItemRecord, now_us
from llama_conversations.storage.stores import ConversationStore
from llama_conversations.wire.answers import Json
from llama_conversations.wire.conversations import (
    Conversation,
    ConversationDeleted,
    ConversationList,
    CreateConversation,
    CreateItems,
    ItemList,
    UpdateConversation,
)
from llama_conversations.wire.include import Include
from llama_conversations.wire.items import InputItem, PlainMessage, StoredItem


class ConversationServiceImpl(Conversations):
    """Conversations: everything that an operation writes is one transaction of the store.

    Args:
        store: Where conversations are kept.
        finder: Finds the items that an ``item_reference`` names.
    """

    def __init__(self, store: ConversationStore, finder: ItemFinder) -> None:
        self._store, self._finder = store, finder

    async def initialize(self) -> None:
        """Nothing is held open: the store is the stack's."""

    async def shutdown(self) -> None:
        """Nothing is held open."""

    async def create_conversation(self, request: CreateConversation | None = None) -> Json[Conversation]:
        """See ``Conversations``. Errors: ``InvalidParameter``, ``DuplicateItem``, ``ReferencedItemNotFound``."""
        scope, request = current_scope(), request or CreateConversation()
        conversation = ConversationRecord(
            id=new_id(CONVERSATION_PREFIX), created_at=now_us(), metadata=_metadata_text(request.metadata)
        )
        items = await self._prepare(scope, request.items or [], conversation.id, None)
        return await answered(self._store.create(scope, conversation, items), lambda _: _shown(conversation))

    async def list_conversations(
        self,
        *,
        limit: int = 20,
        order: Order = "desc",
        after: str | None = None,
        before: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Json[ConversationList]:
        """See ``Conversations``. Errors: ``CursorNotFound``, ``MutuallyExclusiveParameters``."""
        page = await self._store.list(current_scope(), page_query(limit, order, after, before), metadata or {})
        texts = [_conversation_text(conversation) for conversation in page.entries]
        return list_page(ConversationList, [conversation.id for conversation in page.entries], texts, page.has_more)

    async def get_conversation(self, conversation_id: str) -> Json[Conversation]:
        """See ``Conversations``. Errors: ``ConversationNotFound``."""
        return _shown(await self._store.get(current_scope(), conversation_id))

    async def update_conversation(self, conversation_id: str, request: UpdateConversation) -> Json[Conversation]:
        """See ``Conversations``. Errors: ``ConversationNotFound``."""
        metadata = _metadata_text(request.metadata)
        return await answered(self._store.update_metadata(current_scope(), conversation_id, metadata), _shown)

    async def delete_conversation(
        self, conversation_id: str, *, responses: Literal["delete"] | None = None
    ) -> Json[ConversationDeleted]:
        """See ``Conversations``. Errors: ``ConversationNotFound``."""
        await self._store.delete(current_scope(), conversation_id, with_responses=responses == "delete")
        return Json.whole(ConversationDeleted(id=conversation_id))

    async def create_items(
        self, conversation_id: str, request: CreateItems, *, include: list[Include] | None = None
    ) -> Json[ItemList]:
        """See ``Conversations``. Errors: ``InvalidParameter``, ``ConversationNotFound``, ``DuplicateItem``."""
        scope = current_scope()
        items = await self._prepare(scope, request.items, conversation_id, conversation_id)
        return await answered(
            self._store.append(scope, conversation_id, items), lambda _: item_page(items, include, has_more=False)
        )

    async def list_items(
        self,
        conversation_id: str,
        *,
        limit: int = 20,
        order: Order = "desc",
        after: str | None = None,
        include: list[Include] | None = None,
    ) -> Json[ItemList]:
        """See ``Conversations``. Errors: ``ConversationNotFound``, ``CursorNotFound``."""
        page = await self._store.list_items(current_scope(), conversation_id, page_query(limit, order, after))
        return item_page(page.entries, include, page.has_more)

    async def get_item(
        self, conversation_id: str, item_id: str, *, include: list[Include] | None = None
    ) -> Json[StoredItem]:
        """See ``Conversations``. Errors: ``ConversationNotFound``, ``ItemNotFound``."""
        item = await self._store.get_item(current_scope(), conversation_id, item_id)
        return Json(StoredItem, item_view(item, include).encode())

    async def delete_item(self, conversation_id: str, item_id: str) -> Json[Conversation]:
        """See ``Conversations``. Errors: ``ConversationNotFound``, ``ItemNotFound``."""
        return _shown(await self._store.delete_item(current_scope(), conversation_id, item_id))

    async def _prepare(
        self, scope: AccessScope, items: Sequence[InputItem | PlainMessage], conversation_id: str, within: str | None
    ) -> Sequence[ItemRecord]:
        """Items as they are stored; ``within`` is the conversation, once it exists, where references look first."""
        return await prepare_input(items, partition_of(conversation_id), "items", self._finder.bound(scope, within))


def item_view(item: ItemRecord, include: Sequence[Include] | None) -> str:
    """The JSON text of an item for a caller who asked for ``include``."""
    return apply_include(item.data, include) if include and item.masked is not None else item.default_view


def item_page(items: Sequence[ItemRecord], include: Sequence[Include] | None, has_more: bool) -> Json[ItemList]:
    """A page of items as it is served."""
    return list_page(ItemList, [item.id for item in items], [item_view(item, include) for item in items], has_more)


def _metadata_text(metadata: dict[str, str] | None) -> str:
    return orjson.dumps(metadata or {}).decode()


def _shown(record: ConversationRecord) -> Json[Conversation]:
    return Json(Conversation, _conversation_text(record).encode())


def _conversation_text(record: ConversationRecord) -> str:
    seconds = record.created_at // MICROSECONDS
    return f'{{"id":"{record.id}","object":"conversation","created_at":{seconds},"metadata":{record.metadata}}}'
