"""News between those who share a database: that a look may be worth it, told at once where that can be done.

News are hints, and nothing rests on them: one may be lost with a connection, and where a database passes none on
(SQLite, a pooler), those of other processes never come. So whoever waits for news looks by himself from time to time.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

JOBS = "jobs"
"""A response in the background waits to be taken up."""

CANCELS = "cancels"
"""A response in the background, wherever it runs, is to be cancelled."""

# The third kind of topic is a response's id: events of it were stored, or it has ended.


class Bell:
    """Rings when there is news of its topic."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake whoever waits, or will wait next."""
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until it has rung since the last time, or so many seconds; whether it has rung."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True


class News(Protocol):
    """What one announces, and others wait for."""

    @property
    @abstractmethod
    def is_heard(self) -> bool:
        """Whether what other processes announce is heard here, at this moment."""
        ...

    @abstractmethod
    def announce(self, topic: str) -> None:
        """Tell it, once what it is about is stored; does not wait, and never fails."""
        ...

    @abstractmethod
    def bell(self, topic: str) -> AbstractContextManager[Bell]:
        """A bell for a topic, as long as it is wanted. It rings, too, when news may have been missed."""
        ...


class LocalNews(News):
    """News within a process."""

    def __init__(self) -> None:
        self._bells: defaultdict[str, set[Bell]] = defaultdict(set)

    @property
    def is_heard(self) -> bool:
        """Never."""
        return False

    def announce(self, topic: str) -> None:
        """Ring the bells of a topic."""
        for bell in self._bells.get(topic, ()):
            bell.ring()

    @contextmanager
    def bell(self, topic: str) -> Iterator[Bell]:
        """Add a bell."""
        bell = Bell()
        self._bells[topic].add(bell)
        try:
            yield bell
        finally:
            self._bells[topic].discard(bell)
            if not self._bells[topic]:
                del self._bells[topic]

    def ring_all(self) -> None:
        """Ring every bell: nobody knows what was missed."""
        for topic in list(self._bells):
            LocalNews.announce(self, topic)
