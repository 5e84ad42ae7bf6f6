"""How much is served at a time: what comes beyond it is refused at once, instead of making everybody wait."""

from __future__ import annotations

from llama_conversations.errors import Overloaded

__all__ = ["Room"]


class Room:
    """Room for so many requests at a time; each enters it (``with room``) and leaves it.

    Args:
        limit: How many; one more is ``Overloaded``.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    def __enter__(self) -> None:
        if self._taken >= self._limit:
            raise Overloaded(f"{self._limit} requests are being served, which is its limit")
        self._taken += 1

    def __exit__(self, *_: object) -> None:
        self._taken -= 1
