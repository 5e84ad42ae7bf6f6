"""Searches by a service of each known kind, and of none; and everything that such a service can do wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from llama_conversations.apis.web_search import Location, Search, SearchResult
from llama_conversations.errors import SearchFailed, ShuttingDown
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations_providers.web_search.remote.answers import read_results
from llama_conversations_providers.web_search.remote.config import WebSearchConfig
from llama_conversations_providers.web_search.remote.provider import RemoteWebSearch, create
from scripted_search import FAULTS, ScriptedSearch, page, snippet

KEY = "sk-search-secret"


@pytest.fixture(scope="module")
def service() -> Iterator[ScriptedSearch]:
    with ScriptedSearch() as service:
        yield service


@asynccontextmanager
async def opened(**settings: object) -> AsyncIterator[RemoteWebSearch]:
    """A provider of these settings."""
    provider = create(ProviderContext("search", WebSearchConfig.model_validate(settings), {}))
    await provider.initialize()
    try:
        yield provider
    finally:
        await provider.shutdown()


def found(query: str, count: int) -> list[SearchResult]:
    return [SearchResult(f"Page {n}", page(n), snippet(n, query)) for n in range(1, count + 1)]


PARIS = Location(country="FR", city="Paris")

KINDS: Mapping[str, tuple[dict[str, object], str, dict[str, object], tuple[str, str]]] = {
    "searxng": ({}, "GET", {"q": "cats results=5 site:a.org", "format": "json"}, ("authorization", f"Bearer {KEY}")),
    "brave": (
        {"country_parameter": "country", "parameters": {"safesearch": "off", "spellcheck": True}},
        "GET",
        {
            "q": "cats results=5 site:a.org",
            "count": "4",
            "country": "FR",
            "safesearch": "off",
            "spellcheck": "true",
        },
        ("x-subscription-token", KEY),
    ),
    "tavily": (
        {"parameters": {"search_depth": "basic"}},
        "POST",
        {"query": "cats results=5", "max_results": 4, "include_domains": ["a.org"], "search_depth": "basic"},
        ("authorization", f"Bearer {KEY}"),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_known_service_is_asked_in_its_own_way(service: ScriptedSearch, kind: str) -> None:
    settings, method, parameters, (header, credential) = KINDS[kind]
    url = {"url": service.url(kind)}
    async with opened(preset=kind, api_key=KEY, max_results=4, headers={"X-Team": "a"}, **url, **settings) as provider:
        search = Search("cats results=5", max_results=3, allowed_domains=["a.org"], location=PARIS)
        results = await provider.search(search)
    asked = service.searches("cats")[-1]
    assert (asked.method, asked.parameters) == (method, parameters)
    assert (asked.headers[header], asked.headers["x-team"]) == (credential, "a")
    assert asked.headers["user-agent"].startswith("llama-conversations/")
    assert list(results) == found(asked.query, 4)


async def test_any_other_service_is_asked_as_the_settings_say(service: ScriptedSearch) -> None:
    paths = {"results": "web.results", "snippet": "description"}
    how = {"headers": {"AUTHORIZATION": "Basic abc"}, "api_key": KEY, "api_key_parameter": "key"}
    async with opened(url=service.url("brave") + "/{query}?lang=en", answer=paths, **how) as provider:
        results = await provider.search(Search("black & white/cats?", 3, ["a.org", "b.org"]))
    [asked] = service.searches("black")
    assert asked.path == "/brave/black%20%26%20white%2Fcats%3F%20%28site%3Aa.org%20OR%20site%3Ab.org%29"
    assert asked.parameters == {"lang": "en", "key": KEY}
    assert asked.headers["authorization"] == "Basic abc"
    assert [result.url for result in results] == [page(1), page(2)]


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_found_is_no_error(service: ScriptedSearch, kind: str) -> None:
    async with opened(preset=kind, url=service.url(kind)) as provider:
        assert list(await provider.search(Search("results=0", 3))) == []


REFUSALS = {
    "status=401": "credentials",
    "status=403": "credentials",
    "status=429": "too often",
    "status=500": "has failed",
    "status=503": "has failed",
    "status=404": "did not take",
    "status=302": "did not take",
    "huge": "longer than 2097152 bytes",
    "cut": "before a whole answer",
    **dict.fromkeys(("garbage", "empty", "list", "other-json"), "not one of search results"),
}


@pytest.mark.parametrize("query", [*REFUSALS])
async def test_whatever_the_service_does_wrong_is_told_in_words_without_secrets(
    service: ScriptedSearch, query: str
) -> None:
    assert set(FAULTS) <= REFUSALS.keys()
    async with opened(preset="searxng", url=service.url(), api_key=KEY) as provider:
        with pytest.raises(SearchFailed, match=REFUSALS[query]) as failed:
            await provider.search(Search(query, 3))
        assert failed.value.provider_id == "search"
        assert KEY not in str(failed.value)
        assert len(await provider.search(Search("cats", 3))) == 2


async def test_a_service_that_does_not_answer_is_given_up_in_time(service: ScriptedSearch) -> None:
    async with opened(preset="searxng", url=service.url(), timeout_seconds=0.2) as provider:
        with pytest.raises(SearchFailed, match=r"within 0\.2 seconds"):
            await provider.search(Search("gate=silent", 3))
    assert await asyncio.to_thread(service.left, "silent") == "disconnected"


async def test_a_service_that_is_not_there_or_has_no_certificate_is_told(service: ScriptedSearch) -> None:
    for url, words in (
        ("http://127.0.0.1:9/search", "could not be reached"),
        ("http://nobody.invalid/search", "could not be reached"),
        (service.url().replace("http:", "https:"), "no trusted TLS connection|could not be reached"),
    ):
        async with opened(url=url, timeout_seconds=5) as provider:
            with pytest.raises(SearchFailed, match=words):
                await provider.search(Search("cats", 3))


async def test_a_search_that_is_cancelled_is_dropped(service: ScriptedSearch) -> None:
    async with opened(preset="searxng", url=service.url()) as provider:
        running = asyncio.create_task(provider.search(Search("gate=cancelled", 3)))
        await asyncio.to_thread(service.searches, "gate=cancelled", 1)
        running.cancel()
        assert await asyncio.to_thread(service.left, "cancelled") == "disconnected"


async def test_it_is_healthy_as_long_as_it_is_open(service: ScriptedSearch) -> None:
    async with opened(preset="searxng", url=service.url()) as provider:
        assert (await provider.health()).status == "ok"
    assert (await provider.health()).status == "error"
    with pytest.raises(ShuttingDown):
        await provider.search(Search("cats", 3))


async def test_results_without_an_address_are_left_out_and_markup_is_not_told() -> None:
    entries: list[Any] = [
        {"title": "<b>A</b> &amp; b", "url": "https://a.org", "content": "1 < 2\n<a href='x'>three</a>"},
        {"url": "http://b.org", "content": None},
        {"title": "no address"},
        {"title": "a script", "url": "javascript:alert(1)"},
        "nothing",
    ]
    results = read_results(orjson.dumps({"results": entries}), WebSearchConfig(url="http://x").answer)
    assert list(results) == [
        SearchResult("A & b", "https://a.org", "1 < 2 three"),
        SearchResult("http://b.org", "http://b.org", ""),
    ]
