"""What crosses the stores' seam: frozen records. JSON stays the text that is served.

Times are whole microseconds since 1970 (UTC).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar

from llama_conversations.access import AccessScope

R = TypeVar("R")

MICROSECONDS = 1_000_000

ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
TERMINAL: frozenset[ResponseStatus] = frozenset({"completed", "incomplete", "failed", "cancelled"})


def now_us() -> int:
    """The time now, in microseconds since 1970."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class PageQuery:
    """A page by keyset: up to ``limit`` entries after the cursor ``after`` (or before ``before``), in ``order``."""

    limit: int
    descending: bool
    after: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Entries in the order that was asked for, and whether there are more behind them."""

    entries: Sequence[R]
    has_more: bool


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """A conversation; ``metadata`` is a JSON object of strings."""

    id: str
    created_at: int
    metadata: str


class ItemRecord(NamedTuple):
    """An item of a conversation, as it is served; a tuple, for there are many of them.

    Attributes:
        data: The whole item as JSON text.
        masked: The item without what ``include`` must ask for; ``None`` where that is the whole item.
        client_id: The id was chosen by the client, so it may collide with one that the conversation holds.
    """

    id: str
    type: str
    data: str
    masked: str | None = None
    client_id: bool = False

    @property
    def default_view(self) -> str:
        """The JSON text that is served where no ``include`` was asked for."""
        return self.data if self.masked is None else self.masked


@dataclass(frozen=True, slots=True)
class HistoryMark:
    """How far somebody knows a conversation: all its items below a position, as of an edition.

    Appending keeps the edition, deleting an item begins a new one.
    """

    edition: int
    position: int


@dataclass(frozen=True, slots=True)
class HistoryPart:
    """Items of a conversation, oldest first.

    Attributes:
        mark: What is known with them; ``None`` when the conversation is gone.
        continues: They stand behind what was known before; otherwise they are all there are.
    """

    items: Sequence[ItemRecord]
    mark: HistoryMark | None
    continues: bool


@dataclass(frozen=True, slots=True)
class ResponseRecord:
    """A response.

    Attributes:
        context_position: For a response made in a conversation: its items below this position were the context.
        input: JSON array text of the input items that it added (never the history).
        head: The response object as JSON text, without its ``output``.
        output: The output items as JSON array text.
    """

    id: str
    created_at: int
    status: ResponseStatus
    model: str
    conversation_id: str | None
    previous_response_id: str | None
    context_position: int | None
    input: str
    head: str
    output: str

    @property
    def body(self) -> str:
        """The response object as it is served."""
        return join_response(self.head, self.output)


def join_response(head: str, output: str) -> str:
    """A response object from its two stored parts: JSON object text without ``output``, and JSON array text."""
    return f'{head[:-1]},"output":{output}}}'


@dataclass(frozen=True, slots=True)
class TurnClaim:
    """What starts a turn: the conversation is leased to the response, and the response is stored as in progress.

    Attributes:
        conversation_id: The conversation to lease, if any.
        response: The response to store; ``None`` when the caller asked for none to be kept.
        told: The caller is told of the response before the turn has ended.
    """

    response_id: str
    conversation_id: str | None
    response: ResponseRecord | None
    told: bool = True


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event of a streamed background response, as the server-sent event that goes out."""

    sequence_number: int
    frame: str


QUEUED_EVENTS = 2
"""Events that are kept when a background response is queued: ``response.created`` and ``response.queued``."""


@dataclass(frozen=True, slots=True)
class Job:
    """A background response that waits, or that was taken up by this process.

    Attributes:
        request: The request as JSON text.
        streamed: Whether its events are kept.
        first_event: The number of the first event of its present run, or of the next, while it waits. What had a lower
            number, but for the first ``QUEUED_EVENTS``, belonged to a run that was given up, and is not kept.
    """

    scope: AccessScope
    response: ResponseRecord
    request: str
    streamed: bool
    first_event: int = QUEUED_EVENTS

    def is_void(self, sequence_number: int) -> bool:
        """Whether an event of that number was shown by a run that was given up."""
        return QUEUED_EVENTS <= sequence_number < self.first_event


@dataclass(frozen=True, slots=True)
class TurnCommit:
    """What ends a turn, in one transaction: items appended, the response final, the lease given back.

    Attributes:
        items: What the conversation gains: input, then output. Empty for a failed or cancelled turn.
        status: The final status.
        head: As in ``ResponseRecord``.
        events: The last events of a streamed background response, but for the terminal one.
    """

    response_id: str
    conversation_id: str | None
    stored: bool
    items: Sequence[ItemRecord]
    status: ResponseStatus
    head: str
    output: str
    events: Sequence[EventRecord] = ()


@dataclass(frozen=True, slots=True)
class KeyHold:
    """An idempotency key as one run of its request holds it; ``holder`` is known to that run alone."""

    scope: AccessScope
    key: str
    holder: str


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What a request with an idempotency key was answered.

    Attributes:
        headers: A JSON object of strings: those beside what every answer has.
        body: JSON, or server-sent events where it is ``streamed``; ``None`` when it was too long to be kept.
    """

    status: int
    headers: str
    body: str | None
    streamed: bool


@dataclass(frozen=True, slots=True)
class KeyBusy:
    """The request of a key runs now, under a lease of this node."""

    node: str


@dataclass(frozen=True, slots=True)
class LostAnswer:
    """The request of a key had its effect, or began a turn, and its process died before the answer was kept.

    Attributes:
        response_id: The response whose turn it began.
        result: The JSON that came of it; ``None`` when nothing is known of that (see ``response_id``), or it was too
            long to be kept.
    """

    response_id: str | None
    result: str | None


KeyClaim: TypeAlias = KeyHold | KeyBusy | KeptAnswer | LostAnswer
"""What is found when a key is claimed: it is the caller's now, or one of the others."""


@dataclass(frozen=True, slots=True)
class PromptRecord:
    """One version of a prompt."""

    id: str
    version: int
    text: str
    variables: Sequence[str]
    is_default: bool
    created_at: int


@dataclass(frozen=True, slots=True)
class ResourceRecord:
    """Something registered, such as a model: ``data`` is JSON text that its kind gives a meaning."""

    kind: str
    identifier: str
    provider_id: str
    data: str


@dataclass(frozen=True, slots=True)
class AgeCursor:
    """A place in the order of creation."""

    created_at: int
    id: str


@dataclass(frozen=True, slots=True)
class Swept:
    """A batch of what may be too old.

    Attributes:
        deleted: How many were.
        cursor: Where the next batch begins; ``None`` where what was looked at is gone.
        has_more: Whether there may be a next one.
    """

    deleted: int
    cursor: AgeCursor | None
    has_more: bool
