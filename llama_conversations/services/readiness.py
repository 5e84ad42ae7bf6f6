"""Whether the server can do its work now: asked often, so an answer costs little, and it never waits for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from llama_conversations.errors import NotReady, StorageUnavailable
from llama_conversations.storage.stores import HealthStore

PATIENCE_SECONDS = 2.0
"""What the database may take to answer."""

FRESH_SECONDS = 1.0
"""How long a write that went well counts: whoever asks more often causes no more writes."""


class Readiness:
    """Looks at the database, and whether the server still takes work.

    Args:
        is_draining: Whether the server takes no new turns.
        patience: Seconds that the database may take.
    """

    def __init__(
        self, health: HealthStore, is_draining: Callable[[], bool], patience: float = PATIENCE_SECONDS
    ) -> None:
        self._is_draining = is_draining
        self._reading = _Probe(health.ping, patience, fresh=0)
        self._writing = _Probe(health.try_write, patience, fresh=FRESH_SECONDS)

    async def check_reading(self) -> None:
        """Errors: ``StorageUnavailable`` when the database does not answer, or not in time."""
        await self._reading.check()

    async def check(self) -> None:
        """Errors: ``NotReady``, which says why."""
        if self._is_draining():
            raise NotReady("it is shutting down")
        try:
            await self._writing.check()
        except StorageUnavailable as error:
            raise NotReady("its database cannot be written to") from error


class _Probe:
    """One question to the database at a time, whoever asks; one that hangs is not asked again."""

    def __init__(self, ask: Callable[[], Awaitable[None]], patience: float, fresh: float) -> None:
        self._ask, self._patience, self._fresh = ask, patience, fresh
        self._task: asyncio.Task[float] | None = None

    async def check(self) -> None:
        task = self._task
        if task is None or (task.done() and not self._is_fresh(task)):
            task = self._task = asyncio.create_task(self._answered())
            task.add_done_callback(_taken_note_of)  # those who asked may have given up waiting
        done, _ = await asyncio.wait((task,), timeout=self._patience)
        if not done:
            raise StorageUnavailable(f"The database did not answer within {self._patience:g} seconds.")
        task.result()

    def _is_fresh(self, task: asyncio.Task[float]) -> bool:
        if task.cancelled() or task.exception() is not None:
            return False
        return time.monotonic() - task.result() < self._fresh

    async def _answered(self) -> float:
        await self._ask()
        return time.monotonic()


def _taken_note_of(task: asyncio.Task[float]) -> None:
    if not task.cancelled():
        task.exception()
