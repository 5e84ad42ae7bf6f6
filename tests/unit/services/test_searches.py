"""What of a search's results is kept, and what a provider is told."""

from __future__ import annotations

from collections.abc import Sequence

from llama_conversations.apis.web_search import Location, Search, SearchResult, WebSearch
from llama_conversations.services.searches import WebSearches
from llama_conversations.wire.catalog import Health
from llama_conversations.wire.tools import WebSearchTool


class Pages(WebSearch):
    """Finds these pages, whatever is searched for."""

    def __init__(self, *urls: str) -> None:
        self.urls, self.seen = urls, list[Search]()

    async def initialize(self) -> None: ...

    async def shutdown(self) -> None: ...

    async def health(self) -> Health:
        return Health(status="ok")

    async def search(self, search: Search) -> Sequence[SearchResult]:
        self.seen.append(search)
        return [SearchResult("t" * 400, url, "s") for url in self.urls]


async def found(pages: Pages, **fields: object) -> list[str]:
    tool = WebSearchTool.model_validate({"type": "web_search", **fields})
    return [result.url for result in await WebSearches({"a": pages, "b": Pages()}).find(tool, "q")]


async def test_pages_of_other_domains_and_of_other_kinds_and_pages_twice_are_dropped() -> None:
    urls = ("https://A.org/1", "https://b.a.org/2", "https://ba.org/3", "https://A.org/1", "ftp://a.org", "http://[x")
    pages = Pages(*urls)
    assert await found(pages) == list(urls[:3])
    assert await found(pages, filters={"allowed_domains": [".a.org"]}) == list(urls[:2])
    assert await found(pages, filters={"allowed_domains": None}, search_context_size="low") == list(urls[:3])


async def test_the_first_provider_is_told_what_is_wanted() -> None:
    pages = Pages()
    await found(pages, user_location={"city": "Oslo", "country": "NO"}, filters={"allowed_domains": ["a.org"]})
    assert pages.seen == [Search("q", 6, ["a.org"], Location(country="NO", city="Oslo"))]


def test_without_a_provider_nothing_is_searched_here() -> None:
    assert not WebSearches({}).available


async def test_a_long_title_is_cut() -> None:
    tool = WebSearchTool.model_validate({"type": "web_search"})
    [result] = await WebSearches({"a": Pages("https://a.org")}).find(tool, "q")
    assert len(result.title) == 301
