"""Whether a PostgreSQL server can be reached: told once when it cannot be any more, and once when it can again."""

from __future__ import annotations

import time

from llama_conversations.errors import StorageUnavailable
from llama_conversations.log import get_logger
from llama_conversations.storage.dialects.postgresql_failures import NOTHING_STORED

logger = get_logger(__name__)


class Reachability:
    """Of one database.

    Args:
        location: The server and its database, for people.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self._lost_at: float | None = None

    def lost(self, reason: str) -> StorageUnavailable:
        """No connection is to be had; the error for whoever wanted one."""
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            logger.error(
                "the database %s cannot be reached (%s): what needs it is refused until it can", self._location, reason
            )
        return StorageUnavailable(NOTHING_STORED)

    def found(self) -> None:
        """A connection was had, and works."""
        if self._lost_at is not None:
            seconds = time.monotonic() - self._lost_at
            self._lost_at = None
            logger.warning("the database %s is reached again, after %.1f s", self._location, seconds)
