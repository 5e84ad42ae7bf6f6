"""Messages, reasoning, and the items that shape a context."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from llama_conversations.wire.base import OpenModel
from llama_conversations.wire.content import MessageContent, ReasoningText, SummaryText
from llama_conversations.wire.items.base import Item, ItemId, Status
from llama_conversations.wire.unions import Array, ByKey

__all__ = [
    "AssistantMessage",
    "Compaction",
    "CompactionTrigger",
    "InputMessage",
    "ItemReference",
    "Message",
    "MessageByRole",
    "Reasoning",
    "Role",
]

MAX_ENCRYPTED_CONTENT = 20_971_520

Role = Literal["user", "system", "developer", "assistant"]


class Message(Item):
    """What somebody said; any part may stand in any role's content."""

    type: Literal["message"] = "message"
    status: Status | None = None
    role: Role
    content: MessageContent


class InputMessage(Message):
    """What the model is told."""

    role: Literal["user", "system", "developer"]


class AssistantMessage(Message):
    """What the model said."""

    role: Literal["assistant"]
    phase: Literal["commentary", "final_answer"] | None = None


MessageByRole = Annotated[InputMessage | AssistantMessage, ByKey("role")]


class Reasoning(Item):
    """What the model thought; it has an id or ``encrypted_content``, or both."""

    type: Literal["reasoning"]
    status: Status | None = None
    summary: Array[SummaryText]
    content: Array[ReasoningText] | None = None
    encrypted_content: str | None = None


class Compaction(Item):
    """A context made small, which only its maker can read."""

    type: Literal["compaction"]
    encrypted_content: Annotated[str, StringConstraints(max_length=MAX_ENCRYPTED_CONTENT)]


class CompactionTrigger(OpenModel):
    """Asks for the context before it to be compacted: an instruction, never stored."""

    type: Literal["compaction_trigger"]


class ItemReference(OpenModel):
    """Stands for a stored item."""

    type: Literal["item_reference"] | None = "item_reference"
    id: ItemId
