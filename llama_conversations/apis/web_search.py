"""Web search: what a provider of searches does that the server runs for the model. Not served over HTTP."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from llama_conversations.wire.catalog import Health


@dataclass(frozen=True, slots=True)
class Location:
    """Roughly where the user is; ``country`` is a two-letter code (ISO 3166-1), ``timezone`` one of IANA's names."""

    country: str | None = None
    region: str | None = None
    city: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for.

    Attributes:
        query: In the words of the model.
        max_results: More are of no use.
        allowed_domains: Only pages of these, and of their subdomains, are wanted; empty: any. What a provider finds
            elsewhere is dropped by the server; one that tells its search service of them finds more.
        location: Where the user is, if that is known.
    """

    query: str
    max_results: int
    allowed_domains: Sequence[str] = ()
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A page that was found: plain text, without markup; ``url`` is an http or https address."""

    title: str
    url: str
    snippet: str = ""


@runtime_checkable
class WebSearch(Protocol):
    """Searches the web."""

    @abstractmethod
    async def initialize(self) -> None:
        """Prepare; a search service that is down is no error here."""
        ...

    @abstractmethod
    async def shutdown(self) -> None:
        """Close what is open."""
        ...

    @abstractmethod
    async def health(self) -> Health:
        """Whether it works; never raises."""
        ...

    @abstractmethod
    async def search(self, search: Search) -> Sequence[SearchResult]:
        """What was found, best first; nothing found is no error. Cancelled when the turn is.

        Errors: ``errors.SearchFailed``.
        """
        ...
