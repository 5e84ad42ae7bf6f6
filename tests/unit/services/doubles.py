"""Doubles for units of the services: stores in memory, and providers that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from llama_conversations.apis.inference import Inference, ProviderModel
from llama_conversations.errors import ModelNotFound, StorageUnavailable
from llama_conversations.services.models import ModelRouter, RoutedModel
from llama_conversations.storage.records import ResourceRecord
from llama_conversations.storage.stores import HealthStore, RegistryStore
from llama_conversations.wire.catalog import Health


class MemoryRegistry(RegistryStore):
    """A registry in memory; counts what is written, and fails when told to.

    ``wrote`` is released once for every write.
    """

    def __init__(self) -> None:
        self.resources: dict[tuple[str, str], Sequence[ResourceRecord]] = {}
        self.writes = 0
        self.wrote = asyncio.Semaphore(0)
        self.failing = False

    async def load(self, kind: str) -> Sequence[ResourceRecord]:
        return [record for (of, _), records in self.resources.items() if of == kind for record in records]

    async def replace(self, kind: str, provider_id: str, resources: Sequence[ResourceRecord]) -> None:
        if self.failing:
            raise StorageUnavailable("the disk is full")
        self.writes += 1
        self.resources[kind, provider_id] = list(resources)
        self.wrote.release()


class StubHealthStore(HealthStore):
    def __init__(self, error: StorageUnavailable | None = None) -> None:
        self.error = error

    async def ping(self) -> None:
        if self.error:
            raise self.error

    async def try_write(self) -> None:
        await self.ping()


class StubInference(Inference):
    """A provider whose lists, chunks and failures a test chooses.

    Attributes:
        models: What it lists; an exception is raised instead.
        gate: Listing waits until it is set.
        listings: How often it was asked for its models; ``asked`` is released as often.
    """

    def __init__(self, *models: str | ProviderModel) -> None:
        self.models: Sequence[str | ProviderModel] | Exception = models
        self.gate = asyncio.Event()
        self.gate.set()
        self.listings = 0
        self.asked = asyncio.Semaphore(0)
        self.chunks: Sequence[bytes | Exception] = ()
        self.answer: bytes | Exception = b"{}"
        self.bodies: list[bytes] = []
        self.stream_closed = False

    async def initialize(self) -> None: ...

    async def shutdown(self) -> None: ...

    async def health(self) -> Health:
        return Health(status="ok")

    async def list_models(self) -> Sequence[ProviderModel]:
        self.listings += 1
        self.asked.release()
        await self.gate.wait()
        if isinstance(self.models, Exception):
            raise self.models
        return [model if isinstance(model, ProviderModel) else ProviderModel(model) for model in self.models]

    async def chat_completion(self, body: bytes) -> bytes:
        self.bodies.append(body)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def stream_chat_completion(self, body: bytes) -> AsyncGenerator[bytes, None]:
        self.bodies.append(body)
        try:
            for chunk in self.chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
        finally:
            self.stream_closed = True


class StubRouter(ModelRouter):
    """Routes one name to one provider's model."""

    def __init__(self, inference: Inference, model: str = "alias", provider_model_id: str = "upstream/model-1") -> None:
        self._routed = RoutedModel(model, "stub", provider_model_id, inference, None)

    async def route(self, model: str) -> RoutedModel:
        if model != self._routed.model_id:
            raise ModelNotFound(model)
        return self._routed
