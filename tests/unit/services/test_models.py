"""The models service: discovery, the registry, routing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from llama_conversations.apis.inference import ProviderModel
from llama_conversations.errors import ModelNotFound, UpstreamUnreachable
from llama_conversations.services.models import DiscoveryTiming, ModelAlias, ModelsServiceImpl, RoutedModel
from llama_conversations.storage.records import ResourceRecord
from llama_conversations.wire.answers import Json
from unit.services.doubles import MemoryRegistry, StubInference

NEVER = 3600.0
CALM = DiscoveryTiming(refresh=NEVER, listing=NEVER, patience=5.0, on_demand=NEVER)
BRIEF = DiscoveryTiming(refresh=NEVER, listing=NEVER, patience=0.01, on_demand=NEVER)
EAGER = DiscoveryTiming(refresh=NEVER, listing=NEVER, patience=5.0, on_demand=0.0)
DOWN = UpstreamUnreachable("ollama", "no connection could be made")


@asynccontextmanager
async def running(
    providers: Mapping[str, StubInference],
    *aliases: ModelAlias,
    registry: MemoryRegistry | None = None,
    timing: DiscoveryTiming = CALM,
) -> AsyncIterator[ModelsServiceImpl]:
    service = ModelsServiceImpl(registry or MemoryRegistry(), providers, aliases, timing)
    await service.initialize()
    try:
        yield service
    finally:
        await service.shutdown()


async def listed(service: ModelsServiceImpl) -> list[str]:
    return [model.id for model in (await service.list_models()).parse().data]


async def test_a_model_is_routed_to_the_provider_that_lists_it() -> None:
    openai = StubInference(ProviderModel("gpt-4.1", created=7, owned_by="system", context_length=1000))
    async with running({"openai": openai}) as models:
        routed = await models.route("gpt-4.1")
        assert (routed.model_id, routed.provider_id, routed.provider_model_id) == ("gpt-4.1", "openai", "gpt-4.1")
        assert routed.inference is openai
        assert routed.context_length == 1000
        model = (await models.get_model("openai/gpt-4.1")).parse()
    assert model.model_dump() == {
        "id": "openai/gpt-4.1",
        "object": "model",
        "created": 7,
        "owned_by": "system",
        "provider_id": "openai",
        "provider_model_id": "gpt-4.1",
        "metadata": {"context_length": 1000},
    }


async def test_the_list_is_sorted_and_has_aliases_and_the_names_that_work() -> None:
    providers = {"vllm": StubInference("qwen", "b"), "ollama": StubInference("qwen", "a", "a")}
    async with running(providers, ModelAlias("gpt-4.1", "vllm", "b")) as models:
        assert await listed(models) == ["a", "b", "gpt-4.1", "ollama/qwen", "vllm/qwen"]
        for name in await listed(models):
            assert (await models.route(name)).model_id == name


async def test_a_bare_name_of_several_providers_is_refused_with_the_names_to_use() -> None:
    async with running({"vllm": StubInference("qwen"), "ollama": StubInference("qwen")}) as models:
        with pytest.raises(ModelNotFound) as caught:
            await models.route("qwen")
        assert caught.value.candidates == ("ollama/qwen", "vllm/qwen")
        with pytest.raises(ModelNotFound):
            await models.get_model("qwen")


async def test_an_alias_of_a_provider_that_the_stack_has_not_is_left_out() -> None:
    async with running({}, ModelAlias("best", "openai", "gpt-4.1")) as models:
        assert await listed(models) == []
        with pytest.raises(ModelNotFound):
            await models.route("best")


async def test_a_provider_that_is_down_at_start_still_has_the_models_it_had() -> None:
    registry = MemoryRegistry()
    async with running(
        {"ollama": StubInference(ProviderModel("phi", context_length=4096))}, registry=registry
    ) as models:
        await models.list_models()
    down = StubInference()
    down.models = DOWN
    async with running({"ollama": down}, registry=registry) as models:
        assert await listed(models) == ["phi"]
        assert (await models.route("phi")).context_length == 4096
        assert (await models.route("ollama/phi")).inference is down


async def test_the_registry_s_models_of_other_stacks_and_unreadable_ones_are_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = MemoryRegistry()
    registry.resources["model", "gone"] = [ResourceRecord("model", "gone/x", "gone", '{"id":"x"}')]
    registry.resources["model", "vllm"] = [ResourceRecord("model", "vllm/y", "vllm", '{"name":"y"}')]
    vllm = StubInference()
    vllm.models = DOWN
    async with running({"vllm": vllm}, registry=registry) as models:
        assert await listed(models) == []
    assert "vllm/y" in caplog.text


async def test_a_provider_that_does_not_answer_delays_neither_the_start_nor_the_others() -> None:
    registry, slow = MemoryRegistry(), StubInference("late")
    slow.gate.clear()
    providers = {"slow": slow, "quick": StubInference("early")}
    async with running(providers, registry=registry, timing=BRIEF) as models:
        assert await listed(models) == ["early"]
        await registry.wrote.acquire()
        slow.gate.set()
        await registry.wrote.acquire()
        assert (await models.route("late")).provider_id == "slow"
        assert await models.names_by_provider() == {"slow": ["late"], "quick": ["early"]}


async def test_a_listing_that_takes_too_long_is_given_up_and_tried_again() -> None:
    registry, slow = MemoryRegistry(), StubInference("late")
    slow.gate.clear()
    timing = DiscoveryTiming(refresh=0.01, listing=0.01, patience=0.01, on_demand=NEVER)
    async with running({"slow": slow}, registry=registry, timing=timing) as models:
        await slow.asked.acquire()
        await slow.asked.acquire()
        slow.gate.set()
        await registry.wrote.acquire()
        assert await listed(models) == ["late"]


async def test_refreshing_goes_on_after_failures_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "llama_conversations")
    registry, flaky = MemoryRegistry(), StubInference("a")
    timing = DiscoveryTiming(refresh=0.0, listing=NEVER, patience=5.0, on_demand=NEVER)
    async with running({"flaky": flaky}, registry=registry, timing=timing) as models:
        await registry.wrote.acquire()
        flaky.models = DOWN
        for _ in range(flaky.listings + 3):
            await flaky.asked.acquire()
        assert await listed(models) == ["a"]
        flaky.models = ["a", "b"]
        await registry.wrote.acquire()
        assert await listed(models) == ["a", "b"]
    assert caplog.text.count("did not list its models") == 1
    assert caplog.text.count("lists its models again") == 1


async def test_whatever_a_provider_raises_the_others_are_refreshed() -> None:
    broken = StubInference()
    broken.models = ZeroDivisionError("somebody else's bug")
    async with running({"broken": broken, "good": StubInference("a")}) as models:
        assert await listed(models) == ["a"]


async def test_the_registry_is_written_only_when_a_list_changes() -> None:
    registry, provider = MemoryRegistry(), StubInference("a", "b")
    async with running({"p": provider}, registry=registry, timing=EAGER) as models:
        provider.models = ["b", "a"]
        with pytest.raises(ModelNotFound):
            await models.route("c")
        assert provider.listings == 2
        assert registry.writes == 1


async def test_a_list_that_could_not_be_stored_is_served_and_stored_later(caplog: pytest.LogCaptureFixture) -> None:
    registry, provider = MemoryRegistry(), StubInference("a")
    registry.failing = True
    async with running({"p": provider}, registry=registry, timing=EAGER) as models:
        assert await listed(models) == ["a"]
        assert "the disk is full" in caplog.text
        registry.failing = False
        with pytest.raises(ModelNotFound):
            await models.route("b")
    assert [record.identifier for record in await registry.load("model")] == ["p/a"]


async def test_a_model_that_a_provider_dropped_is_no_longer_served() -> None:
    provider = StubInference("old")
    async with running({"p": provider}, timing=EAGER) as models:
        provider.models = ["new"]
        assert (await models.route("new")).provider_model_id == "new"
        with pytest.raises(ModelNotFound):
            await models.route("old")


async def test_a_known_model_is_routed_without_asking_the_provider() -> None:
    provider = StubInference("a")
    async with running({"p": provider}, timing=EAGER) as models:
        await models.route("a")
        await models.get_model("p/a")
        await models.list_models()
        assert provider.listings == 1


async def test_many_requests_for_an_unknown_model_share_one_round() -> None:
    provider = StubInference("a")
    async with running({"p": provider}, timing=EAGER) as models:
        await provider.asked.acquire()
        provider.gate.clear()
        provider.models = ["a", "new"]
        requests = [asyncio.create_task(models.route("new")) for _ in range(20)]
        await provider.asked.acquire()
        provider.gate.set()
        assert {(await request).provider_model_id for request in requests} == {"new"}
        assert provider.listings == 2


async def test_unknown_models_do_not_make_the_providers_be_asked_too_often() -> None:
    provider = StubInference("a")
    async with running({"p": provider}, timing=CALM) as models:
        for name in ("x", "y", "z"):
            with pytest.raises(ModelNotFound):
                await models.route(name)
        assert provider.listings == 1


async def test_a_request_for_an_unknown_model_does_not_wait_for_a_silent_provider() -> None:
    provider = StubInference("a")
    provider.gate.clear()
    async with running({"p": provider}, timing=BRIEF) as models:
        with pytest.raises(ModelNotFound):
            await models.route("a")


def listings() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if "list-models" in task.get_name()]


async def test_shutdown_ends_a_listing_that_hangs() -> None:
    provider = StubInference("a")
    provider.gate.clear()
    async with running({"p": provider}, timing=BRIEF) as models:
        await models.list_models()
        assert len(listings()) == 1
    assert listings() == []


async def test_the_start_waits_for_no_provider_and_whoever_asks_for_models_then_waits_for_all() -> None:
    slow, quick = StubInference("same", "late"), StubInference("same")
    slow.gate.clear()
    async with running({"slow": slow, "quick": quick}) as models:
        await quick.asked.acquire()
        requests = [
            asyncio.create_task(request)
            for request in (
                models.route("late"),
                models.route("quick/same"),
                models.list_models(),
                models.route("same"),
            )
        ]
        done, _ = await asyncio.wait(requests, timeout=0.05)
        assert not done
        slow.gate.set()
        late, whole, known, same = await asyncio.gather(*requests, return_exceptions=True)
        assert isinstance(late, RoutedModel)
        assert late.inference is slow
        assert isinstance(whole, RoutedModel)
        assert whole.inference is quick
        assert isinstance(known, Json)
        assert [model.id for model in known.parse().data] == ["late", "quick/same", "slow/same"]
        assert isinstance(same, ModelNotFound)


async def test_a_stack_that_closes_before_its_providers_have_answered_leaves_nothing_behind() -> None:
    provider = StubInference("a")
    provider.gate.clear()
    before = asyncio.all_tasks()
    async with running({"p": provider}) as models:
        waiting = asyncio.create_task(models.route("a"))
        await provider.asked.acquire()
    with pytest.raises(ModelNotFound):
        await waiting
    assert asyncio.all_tasks() == before
