"""Providers: which ones the stack has, how they are set, how they are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llama_conversations.apis.catalog import Providers
from llama_conversations.errors import ProviderNotFound
from llama_conversations.log import get_logger
from llama_conversations.wire.answers import Json
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.catalog import Health, Provider, ProviderList

log = get_logger(__name__)

HEALTH_SECONDS = 5.0
"""What a provider may take to say how it is, unless told otherwise."""


class HasHealth(Protocol):
    """What is asked how it is."""

    async def health(self) -> Health:
        """Whether it works now."""
        ...


@dataclass(frozen=True)
class ProviderEntry:
    """A provider of the stack; ``config`` holds no secrets (they are masked)."""

    api: str
    provider_id: str
    provider_type: str
    config: dict[str, JsonValue]
    implementation: HasHealth


class ProvidersServiceImpl(Providers):
    """Shows the providers of run.yaml and asks each how it is.

    Args:
        entries: A live view that is complete once the stack is open.
        health_seconds: What a provider may take to answer.
    """

    def __init__(self, entries: Sequence[ProviderEntry], health_seconds: float = HEALTH_SECONDS) -> None:
        self._entries, self._health_seconds = entries, health_seconds

    async def list_providers(self) -> Json[ProviderList]:
        """See ``Providers``; all are asked at once."""
        return Json.whole(ProviderList(data=await asyncio.gather(*(self._shown(entry) for entry in self._entries))))

    async def get_provider(self, provider_id: str) -> Json[Provider]:
        """See ``Providers``. Errors: ``ProviderNotFound``."""
        for entry in self._entries:
            if entry.provider_id == provider_id:
                return Json.whole(await self._shown(entry))
        raise ProviderNotFound(provider_id)

    async def _shown(self, entry: ProviderEntry) -> Provider:
        return Provider(
            api=entry.api,
            provider_id=entry.provider_id,
            provider_type=entry.provider_type,
            config=entry.config,
            health=await self._health(entry),
        )

    async def _health(self, entry: ProviderEntry) -> Health:
        try:
            async with asyncio.timeout(self._health_seconds):
                return await entry.implementation.health()
        except TimeoutError:
            return Health(status="error", message=f"no answer within {self._health_seconds:g} seconds")
        except Exception:
            log.exception("Asking provider '%s' for its health failed", entry.provider_id)
            return Health(status="error", message="asking for its health failed; the server's log says why")
