"""A model server's answer whose status is known and whose body is still coming in."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp

from llama_conversations_providers.inference.openai_wire.config import Timeouts
from llama_conversations_providers.inference.openai_wire.faults import FAULTS, timed_out, translate
from llama_conversations_providers.inference.openai_wire.watchdog import Watchdog

DRAIN_SECONDS = 0.05
"""How long the end of a stream may take after its ``[DONE]``; a connection that ends later is not used again."""


class Answer:
    """One answer's body; ``close`` it, whatever happens.

    Args:
        provider_id: Whose errors to raise.
        response: As aiohttp gives it, once the head is read.
        timeouts: For its first byte, and between later ones.
        live: Where it is entered until it is closed.
    """

    def __init__(
        self, provider_id: str, response: aiohttp.ClientResponse, timeouts: Timeouts, live: set[Answer]
    ) -> None:
        self._provider_id, self._response = provider_id, response
        self._live = live
        live.add(self)
        self._seconds, self._idle_seconds = timeouts.first_byte_seconds, timeouts.idle_seconds
        self._watchdog = Watchdog(response.close)

    @property
    def is_event_stream(self) -> bool:
        """Whether it says that it is one."""
        return self._response.headers.get("Content-Type", "").lower().startswith("text/event-stream")

    async def read(self) -> bytes:
        """What came in, waiting for something; empty at the end. Raises ``UpstreamError``."""
        self._watchdog.watch(self._seconds)
        try:
            data = await self._response.content.readany()
        except FAULTS as fault:
            raise (
                timed_out(self._provider_id) if self._watchdog.bitten else translate(self._provider_id, fault)
            ) from fault
        finally:
            self._watchdog.rest()
        self._seconds = self._idle_seconds
        return data

    async def read_all(self) -> bytes:
        """The whole body; closes the answer. Raises ``UpstreamError``."""
        parts = []
        try:
            while part := await self.read():
                parts.append(part)
        finally:
            self.close()
        return b"".join(parts)

    async def drain(self) -> None:
        """Read what follows a stream's last event, so that the connection can be used again."""
        with suppress(*FAULTS):
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self._response.content.readany():
                    pass

    def close(self) -> None:
        """Drop the connection; once the body was read to its end, there is none to drop, and it is used again."""
        self._watchdog.stop()
        self._response.close()
        self._live.discard(self)
