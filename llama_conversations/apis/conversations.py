"""The Conversations API."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, Protocol

from llama_conversations.apis.webmethod import webmethod
from llama_conversations.wire.answers import Json
from llama_conversations.wire.base import Limit
from llama_conversations.wire.conversations import (
    Conversation,
    ConversationDeleted,
    ConversationList,
    CreateConversation,
    CreateItems,
    ItemList,
    UpdateConversation,
)
from llama_conversations.wire.items import Include, StoredItem

Order = Literal["asc", "desc"]


class Conversations(Protocol):
    """Conversations and their items (OpenAI API reference, Conversations)."""

    @webmethod(route="/conversations", method="POST")
    @abstractmethod
    async def create_conversation(self, request: CreateConversation | None = None) -> Json[Conversation]:
        """Create a conversation, with up to 20 first items."""
        ...

    @webmethod(route="/conversations", method="GET")
    @abstractmethod
    async def list_conversations(
        self,
        *,
        limit: Limit = 20,
        order: Order = "desc",
        after: str | None = None,
        before: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Json[ConversationList]:
        """List the caller's conversations by the time of their creation (not part of the hosted API).

        ``metadata[key]=value`` keeps those that have that pair; several pairs must all be there.
        """
        ...

    @webmethod(route="/conversations/{conversation_id}", method="GET")
    @abstractmethod
    async def get_conversation(self, conversation_id: str) -> Json[Conversation]:
        """Retrieve a conversation."""
        ...

    @webmethod(route="/conversations/{conversation_id}", method="POST")
    @abstractmethod
    async def update_conversation(self, conversation_id: str, request: UpdateConversation) -> Json[Conversation]:
        """Replace a conversation's metadata."""
        ...

    @webmethod(route="/conversations/{conversation_id}", method="DELETE")
    @abstractmethod
    async def delete_conversation(
        self, conversation_id: str, *, responses: Literal["delete"] | None = None
    ) -> Json[ConversationDeleted]:
        """Delete a conversation with its items. Responses that were made in it stay, unless `responses=delete`.

        That erases them, too, with whatever else is kept of the conversation (not part of the hosted API).
        """
        ...

    @webmethod(route="/conversations/{conversation_id}/items", method="POST")
    @abstractmethod
    async def create_items(
        self, conversation_id: str, request: CreateItems, *, include: list[Include] | None = None
    ) -> Json[ItemList]:
        """Append up to 20 items, all or none; answers with them in the order of the request."""
        ...

    @webmethod(route="/conversations/{conversation_id}/items", method="GET")
    @abstractmethod
    async def list_items(
        self,
        conversation_id: str,
        *,
        limit: Limit = 20,
        order: Order = "desc",
        after: str | None = None,
        include: list[Include] | None = None,
    ) -> Json[ItemList]:
        """List a conversation's items by their position; ``after`` is the id of the item before the page."""
        ...

    @webmethod(route="/conversations/{conversation_id}/items/{item_id}", method="GET")
    @abstractmethod
    async def get_item(
        self, conversation_id: str, item_id: str, *, include: list[Include] | None = None
    ) -> Json[StoredItem]:
        """Retrieve an item."""
        ...

    @webmethod(route="/conversations/{conversation_id}/items/{item_id}", method="DELETE")
    @abstractmethod
    async def delete_item(self, conversation_id: str, item_id: str) -> Json[Conversation]:
        """Delete an item; answers with the conversation."""
        ...
