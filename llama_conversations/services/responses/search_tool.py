"""The web search of one turn: offered to the model as a function, done by this server."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from llama_conversations.errors import SearchFailed
from llama_conversations.log import get_logger
from llama_conversations.services.responses.citations import url_citations
from llama_conversations.services.responses.output import Place
from llama_conversations.services.responses.web_search_item import WebSearchItem
from llama_conversations.services.searches import WebSearches
from llama_conversations.wire.events import Event, JsonObject
from llama_conversations.wire.include import Include
from llama_conversations.wire.tools import UserLocation, WebSearchTool

logger = get_logger(__name__)

_WHAT_IT_DOES = (
    "Searches the web; answers with the titles, addresses and excerpts of pages. Name the pages that your answer draws "
    "on in it, as Markdown links: [title](address)."
)
_ARGUMENTS: JsonObject = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "What to search for"}},
    "required": ["query"],
    "additionalProperties": False,
}


class SearchTool:
    """One turn's web search, and the pages that it has found so far.

    Args:
        name: What the model calls it.
        tool: As the request has it.
        include: What the request wants to be shown.
    """

    def __init__(self, name: str, tool: WebSearchTool, searches: WebSearches, include: Collection[Include]) -> None:
        self.name = name
        self._tool, self._searches = tool, searches
        self._shows_sources = "web_search_call.action.sources" in include
        self._shows_results = "web_search_call.results" in include
        self._titles: dict[str, str] = {}

    def offered(self) -> JsonObject:
        """The tool as chat completions name it."""
        description = " ".join([_WHAT_IT_DOES, *self._bounds()])
        return {
            "type": "function",
            "function": {"name": self.name, "description": description, "parameters": _ARGUMENTS},
        }

    def new_call(self, place: Place) -> WebSearchItem:
        """The item of a call."""
        item_id = place.new_id("web_search_call")
        return WebSearchItem(
            item_id,
            place.index,
            place.call_id,
            place.name,
            shows_sources=self._shows_sources,
            shows_results=self._shows_results,
        )

    async def run(self, call: WebSearchItem) -> Iterator[Event]:
        """The outcome of a call, as the events that show it."""
        if not call.query:
            return call.fail("The argument 'query' must be given, as text.")
        try:
            found = await self._searches.find(self._tool, call.query)
        except SearchFailed as error:
            logger.warning("search provider '%s': %s", error.provider_id, error.reason)
            return call.fail(str(error))
        self._titles |= {page.url: page.title for page in found}
        return call.succeed(found)

    def citations(self, text: str) -> Sequence[JsonObject]:
        """The annotations of a text that names pages which were found in this turn."""
        return url_citations(text, self._titles)

    def _bounds(self) -> Iterator[str]:
        domains = (self._tool.filters and self._tool.filters.allowed_domains) or ()
        if domains:
            yield f"Only pages of {', '.join(domains)} are found."
        where = None if self._tool.user_location is None else _where(self._tool.user_location)
        if where:
            yield f"The user is near {where}."


def _where(location: UserLocation) -> str:
    place = ", ".join(part for part in (location.city, location.region, location.country) if part)
    return f"{place} (time zone {location.timezone})" if place and location.timezone else place
