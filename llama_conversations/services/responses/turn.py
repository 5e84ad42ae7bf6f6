"""One turn, as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_conversations.access import AccessScope
from llama_conversations.services.models import RoutedModel
from llama_conversations.storage.records import ItemRecord
from llama_conversations.wire.responses import CreateResponse


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn: what was asked, by whom, of which model, and under which ids it is known.

    Attributes:
        created_at: Microseconds since 1970.
        partition: What the ids of its items begin with.
        input: The request's own input items, as they will be stored.
        remembered: The context that it continues, where that was not stored and is held by a connection.
        generate: Whether the model is asked; otherwise the turn only prepares a context.
    """

    response_id: str
    partition: str
    created_at: int
    scope: AccessScope
    request: CreateResponse
    model: RoutedModel
    input: Sequence[ItemRecord]
    remembered: Sequence[ItemRecord] | None = None
    generate: bool = True

    @property
    def conversation_id(self) -> str | None:
        """The conversation that the turn is part of."""
        return self.request.conversation_id

    @property
    def stored(self) -> bool:
        """Whether the response can be retrieved afterwards; a null ``store`` means true.

        One in the background is stored whatever ``store`` says: there is no other way to get at it.
        """
        return self.request.store is not False or bool(self.request.background)

    @property
    def leaves_trace(self) -> bool:
        """Whether anything is kept of it. Such a turn goes on when its caller hangs up; any other is stopped."""
        return self.stored or self.conversation_id is not None
