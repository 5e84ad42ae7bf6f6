"""Inspect: the routes that are served, whether the server is well, which version it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_conversations.apis.catalog import Inspect
from llama_conversations.apis.webmethod import webmethods
from llama_conversations.services.readiness import Readiness
from llama_conversations.wire.answers import Json
from llama_conversations.wire.catalog import Route, RouteList, ServerHealth, Version


@dataclass(frozen=True, slots=True)
class ServedApi:
    """An API that is served, and by which types of providers."""

    protocol: type
    provider_types: tuple[str, ...]


class InspectServiceImpl(Inspect):
    """Tells the routes by reflection over the protocols, the health by a question to the database."""

    def __init__(self, served: Sequence[ServedApi], readiness: Readiness, version: str) -> None:
        self._readiness, self._version = readiness, version
        routes = [route for api in served for route in _routes(api)]
        self._routes = Json.whole(RouteList(data=sorted(routes, key=lambda route: (route.route, route.method))))

    async def list_routes(self) -> Json[RouteList]:
        """See ``Inspect``; sorted by path and method."""
        return self._routes

    async def health(self) -> Json[ServerHealth]:
        """See ``Inspect``. Errors: ``StorageUnavailable``."""
        await self._readiness.check_reading()
        return Json.whole(ServerHealth())

    async def liveness(self) -> Json[ServerHealth]:
        """See ``Inspect``."""
        return Json.whole(ServerHealth())

    async def readiness(self) -> Json[ServerHealth]:
        """See ``Inspect``. Errors: ``NotReady``."""
        await self._readiness.check()
        return Json.whole(ServerHealth())

    async def version(self) -> Json[Version]:
        """See ``Inspect``."""
        return Json.whole(Version(version=self._version))


def _routes(api: ServedApi) -> Sequence[Route]:
    return [
        Route(route=method.path, method=method.method, provider_types=list(api.provider_types))
        for _, method in webmethods(api.protocol)
    ]
