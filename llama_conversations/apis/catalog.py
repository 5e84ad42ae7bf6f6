"""The APIs by which the server tells about itself: Models, Providers, Inspect."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from llama_conversations.apis.webmethod import webmethod
from llama_conversations.wire.answers import Json
from llama_conversations.wire.catalog import (
    Model,
    ModelList,
    Provider,
    ProviderList,
    RouteList,
    ServerHealth,
    Version,
)


class Models(Protocol):
    """Models that may be named in a request (OpenAI API reference, Models)."""

    @webmethod(route="/models", method="GET")
    @abstractmethod
    async def list_models(self) -> Json[ModelList]:
        """List the models: those registered by name and those that the providers list."""
        ...

    @webmethod(route="/models/{model_id:path}", method="GET")
    @abstractmethod
    async def get_model(self, model_id: str) -> Json[Model]:
        """Retrieve a model by any name that a request may use for it."""
        ...


class Providers(Protocol):
    """The providers of this stack."""

    @webmethod(route="/providers", method="GET")
    @abstractmethod
    async def list_providers(self) -> Json[ProviderList]:
        """List the providers with their health now."""
        ...

    @webmethod(route="/providers/{provider_id}", method="GET")
    @abstractmethod
    async def get_provider(self, provider_id: str) -> Json[Provider]:
        """Retrieve a provider with its health now."""
        ...


class Inspect(Protocol):
    """The server itself."""

    @webmethod(route="/inspect/routes", method="GET")
    @abstractmethod
    async def list_routes(self) -> Json[RouteList]:
        """List every route that is served."""
        ...

    @webmethod(route="/health", method="GET")
    @abstractmethod
    async def health(self) -> Json[ServerHealth]:
        """Whether the server serves and its database answers."""
        ...

    @webmethod(route="/health/live", method="GET")
    @abstractmethod
    async def liveness(self) -> Json[ServerHealth]:
        """Whether the process serves at all: nothing else is looked at. One that does not answer is to be restarted."""
        ...

    @webmethod(route="/health/ready", method="GET")
    @abstractmethod
    async def readiness(self) -> Json[ServerHealth]:
        """Whether the process can do its work now: the database can be written to, and it is not shutting down.

        503 otherwise, within seconds. Model servers that are down do not count: `/v1/providers` tells of them.
        """
        ...

    @webmethod(route="/version", method="GET")
    @abstractmethod
    async def version(self) -> Json[Version]:
        """The version of this software."""
        ...
