"""Leases kept alive while turns run, and turns of processes that died brought to an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from llama_conversations.log import get_logger
from llama_conversations.services.responses.snapshot import failed_head
from llama_conversations.services.upkeep import Upkeep
from llama_conversations.storage.stores import ResponseStore
from llama_conversations.wire.responses import ResponseError

logger = get_logger(__name__)

_RENEWALS_PER_LEASE = 3
_DIED = ResponseError(code="server_error", message="The server stopped before the turn had ended.")


class LeaseKeeper:
    """Renews this process's leases, and sweeps up the turns of dead ones.

    Args:
        running: The ids of the responses whose turns run now. What is not among them is let run out, so that a turn
            whose end could not be stored does not lock its conversation for as long as the process lives.
        lease_seconds: How long a lease lasts; it is renewed three times in that.
        sweep_seconds: How often to look for turns whose process died.
    """

    def __init__(
        self,
        responses: ResponseStore,
        running: Callable[[], Collection[str]],
        lease_seconds: float,
        sweep_seconds: float,
    ) -> None:
        self._responses, self._running = responses, running
        self._renewal, self._sweep_interval = lease_seconds / _RENEWALS_PER_LEASE, sweep_seconds
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Sweep once, so that what a crash left is mended before anybody asks; then go on."""
        await self._end_what_is_left()
        self._tasks = [
            asyncio.create_task(Upkeep(logger, "keeping leases").every(self._renewal, self._renew)),
            asyncio.create_task(Upkeep(logger, "sweeping up turns").every(self._sweep_interval, self.sweep)),
        ]

    async def stop(self) -> None:
        """Stop both."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _renew(self) -> None:
        running = self._running()
        if running:
            await self._responses.renew_leases(running)

    async def sweep(self) -> None:
        """End the turns that dead processes have left.

        Those of this process live, whatever the clock says: it may have jumped, or this process may have stood still.
        """
        await self._renew()
        await self._end_what_is_left()

    async def _end_what_is_left(self) -> None:
        """Until nothing is left: the store takes so many turns at a time."""
        while swept := await self._responses.sweep(lambda head: failed_head(head, _DIED)):
            for response_id in swept:
                logger.warning("turn %s was left by a process that died; it is stored as failed", response_id)
