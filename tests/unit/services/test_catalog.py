"""Providers and Inspect: what the server tells about itself."""

from __future__ import annotations

import asyncio

import pytest

from llama_conversations.apis.catalog import Inspect, Models
from llama_conversations.apis.inference import Inference
from llama_conversations.errors import NotReady, ProviderNotFound, StorageUnavailable
from llama_conversations.services.inspect import InspectServiceImpl, ServedApi
from llama_conversations.services.providers import ProviderEntry, ProvidersServiceImpl
from llama_conversations.services.readiness import Readiness
from llama_conversations.wire.catalog import Health
from unit.services.doubles import StubHealthStore


class Patient:
    """Says how it is: well, with an exception, or never."""

    def __init__(self, answer: Health | Exception | None) -> None:
        self._answer = answer

    async def health(self) -> Health:
        if self._answer is None:
            await asyncio.Event().wait()
        if isinstance(self._answer, Exception):
            raise self._answer
        assert self._answer is not None
        return self._answer


def entry(provider_id: str, answer: Health | Exception | None) -> ProviderEntry:
    return ProviderEntry("inference", provider_id, "remote::x", {"api_key": "********", "n": None}, Patient(answer))


async def test_providers_are_listed_with_their_health_and_masked_settings() -> None:
    service = ProvidersServiceImpl([entry("a", Health(status="ok")), entry("b", Health(status="error", message="no"))])
    shown = [provider.model_dump() for provider in (await service.list_providers()).parse().data]
    settings = {
        "api": "inference",
        "provider_type": "remote::x",
        "config": {"api_key": "********", "n": None},
    }
    assert shown == [
        {"provider_id": "a", "health": {"status": "ok", "message": None}, **settings},
        {"provider_id": "b", "health": {"status": "error", "message": "no"}, **settings},
    ]


async def test_providers_that_are_silent_or_fail_cost_one_time_out_and_tell_no_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    silent = [entry(f"silent{n}", None) for n in range(50)]
    broken = entry("broken", RuntimeError("password=hunter2"))
    service = ProvidersServiceImpl([*silent, broken, entry("good", Health(status="ok"))], health_seconds=0.05)
    async with asyncio.timeout(1.5):  # one after another they would take 2.5 seconds
        answer = await service.list_providers()
    health = {provider.provider_id: provider.health for provider in answer.parse().data}
    assert health["silent0"] == Health(status="error", message="no answer within 0.05 seconds")
    assert health["broken"].status == "error"
    assert b"hunter2" not in answer.body
    assert "hunter2" in caplog.text
    assert health["good"].status == "ok"


async def test_a_provider_is_found_by_its_id() -> None:
    service = ProvidersServiceImpl([entry("a", Health(status="ok")), entry("b", Health(status="ok"))])
    assert (await service.get_provider("b")).parse().provider_id == "b"
    with pytest.raises(ProviderNotFound):
        await service.get_provider("c")


async def test_every_served_route_is_listed_with_its_provider_types() -> None:
    served = [ServedApi(Models, ("remote::openai",)), ServedApi(Inspect, ()), ServedApi(Inference, ())]
    routes = (await InspectServiceImpl(served, ready(), "1.2.3").list_routes()).parse().data
    assert [(route.route, route.method, route.provider_types) for route in routes] == [
        ("/v1/health", "GET", []),
        ("/v1/health/live", "GET", []),
        ("/v1/health/ready", "GET", []),
        ("/v1/inspect/routes", "GET", []),
        ("/v1/models", "GET", ["remote::openai"]),
        ("/v1/models/{model_id:path}", "GET", ["remote::openai"]),
        ("/v1/version", "GET", []),
    ]


def ready(error: StorageUnavailable | None = None) -> Readiness:
    return Readiness(StubHealthStore(error), lambda: False)


async def test_health_asks_the_database() -> None:
    service = InspectServiceImpl([], ready(), "1.2.3")
    assert (await service.health()).body == b'{"status":"ok"}'
    failing = InspectServiceImpl([], ready(StorageUnavailable("gone")), "1.2.3")
    with pytest.raises(StorageUnavailable):
        await failing.health()
    assert (await failing.liveness()).body == b'{"status":"ok"}'
    with pytest.raises(NotReady):
        await failing.readiness()


async def test_the_version_is_told() -> None:
    assert (await InspectServiceImpl([], ready(), "1.2.3").version()).body == b'{"version":"1.2.3"}'
