"""News over PostgreSQL: LISTEN and NOTIFY, both on one connection of each process that does nothing else.

A transaction that notifies takes a lock of the whole database until its commit is on the disk
(postgresql.org/docs/current/sql-notify.html), so no unit of work does. News are told after the commit that they are
about: gathered, in a statement of their own that waits for no disk, some times a second for a process at the most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from llama_conversations.log import get_logger
from llama_conversations.storage.dialects.postgresql_failures import DRIVER_ERRORS
from llama_conversations.storage.news import LocalNews
from llama_conversations.storage.unit_of_work import Row

logger = get_logger(__name__)

CHANNEL = "llama_conversations"

GATHER_SECONDS = 0.05
"""The pause after news were told, in which more are gathered."""

RECONNECT_SECONDS = 1.0
"""How long after a connection was lost, or could not be made, another one is tried."""

CHECK_SECONDS = 20.0
"""How long a connection may be silent before it is tried whether it still works."""

_CLOSING_SECONDS = 2.0
_TELL = "SELECT pg_notify($1, topic) FROM unnest($2::text[]) AS topic"


class ListeningConnection(Protocol):
    """What is used of ``asyncpg.Connection``. Errors of all that wait: ``DRIVER_ERRORS``."""

    async def fetch(self, query: str, *values: str | Sequence[str]) -> Sequence[Row]:
        """Run a statement; its rows."""
        ...

    async def add_listener(self, channel: str, callback: Callable[[object, int, str, str], None]) -> None:
        """Call something with what is told on a channel: connection, who told it, channel, payload."""
        ...

    def add_termination_listener(self, callback: Callable[[object], None]) -> None:
        """Call something when the connection is closed, by whomever."""
        ...

    def get_server_pid(self) -> int:
        """Who this is to others."""
        ...

    def is_closed(self) -> bool:
        """Whether it is known to be broken, or was closed."""
        ...

    def terminate(self) -> None:
        """Close it at once."""
        ...


class PostgresqlNews(LocalNews):
    """News among all processes of a database. While its connection is lost: within this one, and nothing is heard.

    Args:
        connect: Makes a connection of its own. Errors: ``DRIVER_ERRORS``.
    """

    def __init__(self, connect: Callable[[], Awaitable[ListeningConnection]]) -> None:
        super().__init__()
        self._connect = connect
        self._untold: set[str] = set()
        self._awake = asyncio.Event()
        self._is_heard, self._was_lost = False, False
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._stay_connected(), name="postgresql-news")

    @property
    def is_heard(self) -> bool:
        """Whether the connection stands."""
        return self._is_heard

    def announce(self, topic: str) -> None:
        """Tell it here at once, elsewhere soon; without a connection the others have to look."""
        super().announce(topic)
        if self._is_heard:
            self._untold.add(topic)
            self._awake.set()

    async def close(self) -> None:
        """Tell what is untold, if that can be done, and close the connection."""
        self._closing.set()
        self._awake.set()
        await asyncio.wait([self._task], timeout=_CLOSING_SECONDS)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _stay_connected(self) -> None:
        while True:
            reason = "it was closed"
            try:
                await self._use_one()
            except DRIVER_ERRORS as error:
                reason = str(error) or type(error).__name__
            if self._closing.is_set():
                return
            if self._is_heard:
                logger.warning("the connection for news is lost (%s): news are looked for meanwhile", reason)
                self._was_lost = True
            self._is_heard = False
            self.ring_all()  # who waits shall look, and then look more often
            await self._pause(RECONNECT_SECONDS)

    async def _use_one(self) -> None:
        """Listen and tell on a connection until it is lost, or no longer needed."""
        connection = await self._connect()
        try:
            ours = connection.get_server_pid()
            connection.add_termination_listener(lambda _: self._awake.set())
            await connection.add_listener(CHANNEL, lambda _, pid, __, topic: self._hear(topic, told_here=pid == ours))
            if self._was_lost:
                logger.info("the connection for news stands again")
            self._is_heard, self._was_lost = True, False
            self.ring_all()  # nobody knows what was told before
            while not connection.is_closed() and (self._untold or not self._closing.is_set()):
                await self._tell(connection)
        finally:
            connection.terminate()

    async def _tell(self, connection: ListeningConnection) -> None:
        """Tell what is new. After a long silence that is nothing, and a connection that is dead shows that it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_SECONDS):
                await self._awake.wait()
        self._awake.clear()
        topics, self._untold = sorted(self._untold), set()  # one that comes meanwhile, the same as well, is told next
        await connection.fetch(_TELL, CHANNEL, topics)
        await self._pause(GATHER_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not when it is to be closed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    def _hear(self, topic: str, *, told_here: bool) -> None:
        if not told_here:  # what was told here has been heard here
            LocalNews.announce(self, topic)
