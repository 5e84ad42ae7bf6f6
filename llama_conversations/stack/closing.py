"""Closing what was opened: in reverse, each within a time, whatever the others do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from llama_conversations.log import get_logger

log = get_logger(__name__)

Close = Callable[[], Coroutine[object, object, None]]


@dataclass(frozen=True)
class _Opened:
    name: str
    close: Close


class ClosingStack:
    """What is open now; unlike an ``AsyncExitStack`` it survives what hangs or fails while it closes.

    Args:
        seconds: What each may take to close; then it is cancelled and left alone.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._opened: list[_Opened] = []
        self._closing = asyncio.Lock()

    def push(self, name: str, close: Close) -> None:
        """Note that something was opened, and how it is closed; ``name`` is for the log."""
        self._opened.append(_Opened(name, close))

    async def close(self) -> None:
        """Close everything that is open, the last opened first; failures and time-outs are logged, none is raised.

        A second call does nothing more than wait for the first.
        """
        async with self._closing:
            while self._opened:
                opened = self._opened.pop()
                await self._close_one(opened)

    async def _close_one(self, opened: _Opened) -> None:
        task = asyncio.create_task(opened.close(), name=f"close {opened.name}")
        done, _ = await asyncio.wait([task], timeout=self._seconds)
        if not done:
            # It may ignore the cancellation, so it is not waited for.
            task.cancel()
            log.error("%s did not close within %g seconds; going on without it", opened.name, self._seconds)
        elif task.cancelled():
            log.error("%s was cancelled while it closed", opened.name)
        elif error := task.exception():
            log.error("%s failed to close: %s", opened.name, error, exc_info=error)
        else:
            log.debug("%s is closed", opened.name)
