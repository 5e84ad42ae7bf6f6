"""What talks over a connection that stays: messages in, events out, in lanes that do not wait for one another."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Asked:
    """A client's message, of which nothing has been looked at but its lane.

    Attributes:
        lane: Messages of one lane are answered one after the other; ``None`` is a lane as well.
        body: The message, a JSON object.
    """

    lane: str | None
    body: dict[str, object]


class Channel(Protocol):
    """One connection's other end; it lives as long as the connection does."""

    @abstractmethod
    def read(self, message: bytes) -> Asked:
        """Take a message for what it is. Errors: ``InvalidParameter``."""
        ...

    @abstractmethod
    def answer(self, asked: Asked) -> AsyncGenerator[bytes, None]:
        """The events that answer a message, each a JSON object's text.

        Closed early when the client is gone. Errors: whatever the same request raises over HTTP.
        """
        ...
