"""What asyncio lacks: to finish something although one is being cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def uninterrupted(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; a cancellation that comes meanwhile is raised afterwards."""
    task = asyncio.ensure_future(coroutine)
    task.add_done_callback(_take_note)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task])
        raise


def _take_note(task: asyncio.Future[T]) -> None:
    """Look at a failure that nobody else may look at, lest asyncio report it as never retrieved."""
    if not task.cancelled():
        task.exception()
