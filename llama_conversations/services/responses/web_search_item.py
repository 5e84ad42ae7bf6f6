"""A search of the web while it grows, from the model's call to what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydantic_core import from_json

from llama_conversations.apis.web_search import SearchResult
from llama_conversations.services.responses.output_items import TextPart
from llama_conversations.wire import events
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.events import Event, JsonObject
from llama_conversations.wire.items import Status


@dataclass(slots=True)
class WebSearchItem:
    """A call that the server runs; it ends when the search has ended.

    Attributes:
        shows_sources: Whether the caller asked for ``web_search_call.action.sources``.
        shows_results: Whether the caller asked for ``web_search_call.results``.
    """

    item_id: str
    index: int
    call_id: str
    name: str
    shows_sources: bool = False
    shows_results: bool = False
    arguments: TextPart = field(default_factory=TextPart)
    status: str = "in_progress"
    found: Sequence[SearchResult] | None = None
    error: str | None = None

    def open(self) -> Iterator[Event]:
        yield events.OutputItemAdded(self.index, self.item())
        yield events.WebSearchCallInProgress(self.item_id, self.index)

    def add(self, arguments: str) -> Iterator[Event]:
        """The query is shown when it is whole."""
        self.arguments.pieces.append(arguments)
        yield from ()

    def close(self, status: Status) -> Iterator[Event]:
        if status == "incomplete":
            yield from self.fail("The call was cut off.")
        else:
            self.status = "searching"
            yield events.WebSearchCallSearching(self.item_id, self.index)

    def succeed(self, found: Sequence[SearchResult]) -> Iterator[Event]:
        """The search has ended, and this was found."""
        self.status, self.found = "completed", found
        yield events.WebSearchCallCompleted(self.item_id, self.index)
        yield events.OutputItemDone(self.index, self.item())

    def fail(self, error: str) -> Iterator[Event]:
        """It has failed; the API has no event that says so, only the item's status. The model is told why."""
        self.status, self.error = "failed", error
        yield events.OutputItemDone(self.index, self.item())

    @property
    def waits(self) -> bool:
        """Whether it is yet to be done."""
        return self.status == "searching"

    @property
    def query(self) -> str:
        """What is searched for; empty where the model did not keep to the form."""
        try:
            given = from_json(self.arguments.text or "{}")
        except ValueError:
            return ""
        query = given.get("query") if isinstance(given, dict) else None
        return query.strip() if isinstance(query, str) else ""

    def item(self) -> JsonObject:
        shown: JsonObject = {"id": self.item_id, "type": "web_search_call", "status": self.status}
        if self.status == "in_progress":  # there is no action as long as the call is being written (observed)
            return shown
        query = self.query
        action: JsonObject = {"type": "search", "query": query, "queries": [query] if query else []}
        if self.shows_sources:
            action["sources"] = [{"type": "url", "url": page.url} for page in self.found or ()]
        return shown | {"action": action} | (self._results() if self.shows_results else {})

    def told(self) -> JsonObject:
        """The item as the model is told of it in this turn: with all that was found, or with what went wrong."""
        return self.item() | (self._results() if self.error is None else {"error": self.error})

    def _results(self) -> JsonObject:
        found: list[JsonValue] = [
            {"title": page.title, "url": page.url, "snippet": page.snippet} for page in self.found or ()
        ]
        return {"results": found}
