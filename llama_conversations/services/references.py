"""Input items made ready for a conversation or a turn: references replaced by what they name, ids assigned."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, TypeGuard

from llama_conversations.access import AccessScope
from llama_conversations.errors import ReferencedItemNotFound
from llama_conversations.services.items import prepare_item
from llama_conversations.storage.records import ItemRecord
from llama_conversations.storage.stores import ConversationStore, ResponseStore
from llama_conversations.wire.items import INPUT_ITEM, InputItem, ItemReference, McpCall, McpListTools, PlainMessage

FindItem: TypeAlias = Callable[[str], Awaitable[ItemRecord]]
"""From an item's id to the item that the caller may read. Errors: ``ReferencedItemNotFound``."""


_MAY_STAND_FOR_OTHERS = frozenset({ItemReference, McpCall, McpListTools})
"""Types of items that may stand for a stored one. Compared, for pydantic makes a long way of asking for an instance."""


class ItemFinder:
    """Finds stored items by their id alone, in conversations and in responses."""

    def __init__(self, conversations: ConversationStore, responses: ResponseStore) -> None:
        self._conversations, self._responses = conversations, responses

    def bound(self, scope: AccessScope, conversation_id: str | None) -> FindItem:
        """A function that finds items for one caller, in this conversation first."""

        async def find(item_id: str) -> ItemRecord:
            found = await self._conversations.find_item(scope, item_id, conversation_id)
            if found is not None:
                return found
            text = await self._responses.find_item(scope, item_id)
            if text is None:
                raise ReferencedItemNotFound(item_id)
            return prepare_item(INPUT_ITEM.validate_json(text), "", "item")

        return find


async def prepare_input(
    items: Sequence[InputItem | PlainMessage], partition: str, param: str, find: FindItem
) -> Sequence[ItemRecord]:
    """Items as they are stored, in order.

    A reference becomes a copy of the item that it names, under the same id: where the conversation holds that id
    already, the copy is a duplicate like any other. So does an item of a tool server that comes without what the server
    said, as Pydantic AI sends it back ("these can be read server-side"), if it is stored.

    Args:
        partition: What new ids begin with.
        param: Name of the list in the request.

    Errors: ``InvalidParameter``, ``ReferencedItemNotFound``.
    """
    records: list[ItemRecord] = []
    for index, item in enumerate(items):
        stored = await _stored(item, find) if type(item) in _MAY_STAND_FOR_OTHERS else None
        records.append(prepare_item(item, partition, f"{param}[{index}]") if stored is None else stored)
    return records


async def _stored(item: InputItem | PlainMessage, find: FindItem) -> ItemRecord | None:
    """The stored item that an item stands for, if it does. Errors: ``ReferencedItemNotFound`` for a reference."""
    if isinstance(item, ItemReference):
        return (await find(item.id))._replace(client_id=True)
    if not _is_abridged(item):
        return None
    try:
        found = await find(item.id)
    except ReferencedItemNotFound:
        return None
    return found._replace(client_id=True) if found.type == item.type else None


def _is_abridged(item: InputItem | PlainMessage) -> TypeGuard[McpCall | McpListTools]:
    """Whether what a tool server said is missing."""
    if isinstance(item, McpCall):
        return item.output is None and item.error is None
    return isinstance(item, McpListTools) and not item.tools and item.error is None
