"""Asking the providers, again and again, which models they have."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from llama_conversations.apis.inference import Inference, ProviderModel
from llama_conversations.log import get_logger

log = get_logger(__name__)

Found = Callable[[str, Sequence[ProviderModel]], Awaitable[None]]
"""What is called with a provider's id and its models whenever it has listed them."""


@dataclass(frozen=True, slots=True)
class DiscoveryTiming:
    """How often and how long, in seconds.

    Attributes:
        refresh: Between two rounds over all providers.
        listing: What one provider may take to list its models.
        patience: What the first requests, and those that name an unknown model, wait for the providers.
        on_demand: Between two rounds that such requests cause.
    """

    refresh: float = 300.0
    listing: float = 30.0
    patience: float = 3.0
    on_demand: float = 10.0


class ModelDiscovery:
    """Lists every provider's models concurrently; none disturbs or delays another.

    Args:
        providers: By id; whoever is in it when a round begins is asked.
    """

    def __init__(self, providers: Mapping[str, Inference], found: Found, timing: DiscoveryTiming) -> None:
        self._providers, self._found, self._timing = providers, found, timing
        self._listings: dict[str, asyncio.Task[None]] = {}
        self._failing: set[str] = set()
        self._round_began = float("-inf")
        self._first: asyncio.Task[None] | None = None
        self._rounds: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin a first round, and have one every ``refresh`` seconds after it; waits for nothing."""
        self._first = asyncio.create_task(self.refresh(self._timing.patience), name="first-model-listing")
        self._rounds = asyncio.create_task(self._run(), name="model-refresh")

    async def first_round(self) -> None:
        """Wait until each provider has answered, or had ``patience`` seconds from the start to do so."""
        if self._first is not None and not self._first.done():
            await asyncio.wait((self._first,))

    async def close(self) -> None:
        """Stop asking."""
        tasks = [task for task in (*self._listings.values(), self._first, self._rounds) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def refresh(self, patience: float) -> None:
        """Ask every provider that is not being asked already; returns when all have answered, or after ``patience``."""
        self._round_began = time.monotonic()
        for provider_id, inference in self._providers.items():
            if provider_id not in self._listings:
                listing = self._list(provider_id, inference)
                self._listings[provider_id] = asyncio.create_task(listing, name=f"list-models-{provider_id}")
        await self._settle(patience)

    async def refresh_on_demand(self) -> None:
        """Look again because a model is unknown: at most one round in ``on_demand`` seconds, shared by all who ask."""
        if time.monotonic() - self._round_began >= self._timing.on_demand:
            await self.refresh(self._timing.patience)
        else:
            await self._settle(self._timing.patience)

    async def _settle(self, patience: float) -> None:
        if self._listings:
            await asyncio.wait(list(self._listings.values()), timeout=patience)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._timing.refresh)
            await self.refresh(self._timing.listing)

    async def _list(self, provider_id: str, inference: Inference) -> None:
        try:
            async with asyncio.timeout(self._timing.listing):
                models = await inference.list_models()
            await self._found(provider_id, models)
        except Exception as error:  # noqa: BLE001 whatever a provider raises, the others go on
            self._failed(provider_id, error)
        else:
            self._worked(provider_id, len(models))
        finally:
            del self._listings[provider_id]

    def _failed(self, provider_id: str, error: Exception) -> None:
        """Say so once, not at every round."""
        level = logging.DEBUG if provider_id in self._failing else logging.WARNING
        self._failing.add(provider_id)
        reason = str(error) or type(error).__name__
        log.log(level, "Provider '%s' did not list its models; those known stay: %s", provider_id, reason)

    def _worked(self, provider_id: str, count: int) -> None:
        if provider_id in self._failing:
            self._failing.discard(provider_id)
            log.info("Provider '%s' lists its models again: %d", provider_id, count)
