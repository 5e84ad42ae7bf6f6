"""Searches of the web for turns: which provider does them, what it is told, and how much of what it finds is kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from llama_conversations.apis.web_search import Location, Search, SearchResult, WebSearch
from llama_conversations.errors import InvalidParameter, UnsupportedParameter
from llama_conversations.wire.tools import WebSearchTool


@dataclass(frozen=True, slots=True)
class _Extent:
    """How much of what a search finds the model is told: so many results, of each so many characters of its snippet."""

    results: int
    snippet: int


_EXTENTS: Mapping[str, _Extent] = {
    "low": _Extent(3, 300),
    "medium": _Extent(6, 800),
    "high": _Extent(12, 2000),
}
"""By ``search_context_size``."""

_MAX_TITLE = 300
_DOMAIN = re.compile(r"[^\s/:@?#*]{1,253}")


class WebSearches:
    """Does the searches of turns.

    Args:
        providers: By their ids; a live view, complete once the stack is open. The first of run.yaml searches.
    """

    def __init__(self, providers: Mapping[str, WebSearch]) -> None:
        self._providers = providers

    @property
    def available(self) -> bool:
        """Whether this server searches: then it does so for every model, whatever its upstream could do itself."""
        return bool(self._providers)

    def check(self, tool: WebSearchTool, param: str) -> None:
        """Refuse what no search here keeps to; ``param`` is the tool's place in the request.

        Errors: ``UnsupportedParameter``, ``InvalidParameter``.
        """
        for unknown in _extras(tool):
            raise UnsupportedParameter(f"{param}.{unknown}")
        for index, domain in enumerate(_allowed_domains(tool)):
            if not _DOMAIN.fullmatch(domain):
                message = f"Invalid value: '{domain}'. Expected a domain such as 'example.com', without 'https://'."
                raise InvalidParameter(message, param=f"{param}.filters.allowed_domains[{index}]")

    async def find(self, tool: WebSearchTool, query: str) -> Sequence[SearchResult]:
        """What a search finds: no page twice, and none that the tool's filters exclude. Errors: ``SearchFailed``."""
        provider = next(iter(self._providers.values()))
        extent, domains = _EXTENTS[tool.search_context_size or "medium"], _allowed_domains(tool)
        found = await provider.search(Search(query, extent.results, domains, _location(tool)))
        return [_shortened(result, extent) for result in _kept(found, domains)][: extent.results]


def _extras(tool: WebSearchTool) -> Iterator[str]:
    """What would change what may be found, and is not done here."""
    if tool.external_web_access is False:
        yield "external_web_access"
    if tool.search_content_types is not None and set(tool.search_content_types) - {"text"}:
        yield "search_content_types"
    if tool.filters is not None:
        yield from (f"filters.{name}" for name in tool.filters.model_extra or ())


def _allowed_domains(tool: WebSearchTool) -> Sequence[str]:
    return (tool.filters and tool.filters.allowed_domains) or ()


def _location(tool: WebSearchTool) -> Location | None:
    near = tool.user_location
    return None if near is None else Location(near.country, near.region, near.city, near.timezone)


def _kept(found: Iterable[SearchResult], domains: Sequence[str]) -> Iterator[SearchResult]:
    seen: set[str] = set()
    for result in found:
        if result.url not in seen and _is_allowed(result.url, domains):
            seen.add(result.url)
            yield result


def _is_allowed(url: str, domains: Sequence[str]) -> bool:
    host = _host(url)
    if host is None:
        return False
    wanted = [domain.lower().strip(".") for domain in domains]
    return not wanted or any(host == domain or host.endswith(f".{domain}") for domain in wanted)


def _host(url: str) -> str | None:
    """The host of a page that a browser would open; ``None`` for anything else."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.hostname if parts.scheme in {"http", "https"} else None


def _shortened(result: SearchResult, extent: _Extent) -> SearchResult:
    return SearchResult(_cut(result.title, _MAX_TITLE), result.url, _cut(result.snippet, extent.snippet))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
