"""The stores' seam: what services may ask of storage. Services know these protocols and nothing of SQL.

Every call takes the scope of the caller; somebody else's id and an unknown id answer alike. A call is one transaction:
it happens as a whole or not at all. Errors: ``errors.NotFound`` of the fitting kind; ``errors.StorageUnavailable`` when
the database fails (what was asked for did not happen), ``errors.OutcomeUnknown`` when nobody knows whether it did.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from llama_conversations.access import AccessScope
from llama_conversations.storage.records import (
    AgeCursor,
    ConversationRecord,
    EventRecord,
    HistoryMark,
    HistoryPart,
    ItemRecord,
    Job,
    KeptAnswer,
    KeyClaim,
    KeyHold,
    Page,
    PageQuery,
    PromptRecord,
    ResourceRecord,
    ResponseRecord,
    Swept,
    TurnClaim,
    TurnCommit,
)


class ConversationStore(Protocol):
    """Conversations and their items."""

    @abstractmethod
    async def create(self, scope: AccessScope, conversation: ConversationRecord, items: Sequence[ItemRecord]) -> None:
        """Store a new conversation with its first items. Errors: ``DuplicateItem``."""
        ...

    @abstractmethod
    async def get(self, scope: AccessScope, conversation_id: str) -> ConversationRecord:
        """Errors: ``ConversationNotFound``."""
        ...

    @abstractmethod
    async def list(self, scope: AccessScope, page: PageQuery, metadata: Mapping[str, str]) -> Page[ConversationRecord]:
        """The caller's conversations that have all these metadata pairs. Errors: ``CursorNotFound``."""
        ...

    @abstractmethod
    async def update_metadata(self, scope: AccessScope, conversation_id: str, metadata: str) -> ConversationRecord:
        """Replace the metadata (JSON object text). Errors: ``ConversationNotFound``."""
        ...

    @abstractmethod
    async def delete(self, scope: AccessScope, conversation_id: str, *, with_responses: bool = False) -> None:
        """Delete with all items; ``with_responses``: also what was made in it, and kept of it, elsewhere.

        That is the responses with their events and requests, and the answers to requests with idempotency keys. Turns
        that run store nothing then. Errors: ``ConversationNotFound``.
        """
        ...

    @abstractmethod
    async def append(self, scope: AccessScope, conversation_id: str, items: Sequence[ItemRecord]) -> None:
        """Append in order, unbroken by other appends. Errors: ``ConversationNotFound``, ``DuplicateItem``."""
        ...

    @abstractmethod
    async def list_items(self, scope: AccessScope, conversation_id: str, page: PageQuery) -> Page[ItemRecord]:
        """Errors: ``ConversationNotFound``, ``CursorNotFound``."""
        ...

    @abstractmethod
    async def get_item(self, scope: AccessScope, conversation_id: str, item_id: str) -> ItemRecord:
        """Errors: ``ConversationNotFound``, ``ItemNotFound``."""
        ...

    @abstractmethod
    async def delete_item(self, scope: AccessScope, conversation_id: str, item_id: str) -> ConversationRecord:
        """Errors: ``ConversationNotFound``, ``ItemNotFound``."""
        ...

    @abstractmethod
    async def history(self, scope: AccessScope, conversation_id: str, before_position: int) -> Sequence[ItemRecord]:
        """All items below a position, oldest first; none when the conversation is gone."""
        ...

    @abstractmethod
    async def history_since(
        self, scope: AccessScope, conversation_id: str, before_position: int, known: HistoryMark | None
    ) -> HistoryPart:
        """As ``history``, without the items that are known already, if these are still what the conversation holds."""
        ...

    @abstractmethod
    async def find_item(self, scope: AccessScope, item_id: str, conversation_id: str | None) -> ItemRecord | None:
        """The item of that id which the caller may read: in this conversation first, then in the id's partition."""
        ...


class ResponseStore(Protocol):
    """Responses, and the turns that make them."""

    @abstractmethod
    async def claim(self, scope: AccessScope, claim: TurnClaim) -> HistoryMark | None:
        """Begin a turn; answers with how far the conversation reaches, if there is one.

        Errors: ``ConversationNotFound``, ``ConversationLocked``.
        """
        ...

    @abstractmethod
    async def commit(self, scope: AccessScope, commit: TurnCommit) -> HistoryMark | None:
        """End a turn; answers with how far the conversation reaches now, if there is one.

        A conversation that was deleted meanwhile gains nothing, and a response deleted meanwhile stays deleted: neither
        is an error. Errors: ``TurnLost`` when the lease ran out and was taken away, ``DuplicateItem``;
        ``OutcomeUnknown`` only where doing it again did not tell either.
        """
        ...

    @abstractmethod
    async def unclaim(self, scope: AccessScope, response_id: str, conversation_id: str | None) -> None:
        """Undo a claim, if it happened: the response is gone, the lease given back."""
        ...

    @abstractmethod
    async def renew_leases(self, response_ids: Collection[str]) -> None:
        """Renew the leases that this node holds for the turns of these responses; any other runs out."""
        ...

    @abstractmethod
    async def sweep(self, failed: Callable[[str], str]) -> Sequence[str]:
        """End turns whose node has died or let its lease run out, a limited number, and free their conversations.

        ``failed`` makes the final head (JSON text) from a turn's present one. Answers with the responses' ids: call it
        until there are none.
        """
        ...

    @abstractmethod
    async def get(self, scope: AccessScope, response_id: str) -> ResponseRecord:
        """Errors: ``ResponseNotFound``."""
        ...

    @abstractmethod
    async def list(self, scope: AccessScope, page: PageQuery, model: str | None) -> Page[ResponseRecord]:
        """The caller's responses. Errors: ``CursorNotFound``."""
        ...

    @abstractmethod
    async def delete(self, scope: AccessScope, response_id: str) -> None:
        """Errors: ``ResponseNotFound``."""
        ...

    @abstractmethod
    async def chain(self, scope: AccessScope, response_id: str) -> Sequence[ResponseRecord]:
        """The response and those before it, oldest first.

        Errors: ``PreviousResponseNotFound`` when it, or one further back, does not exist.
        """
        ...

    @abstractmethod
    async def chain_length(self, scope: AccessScope, response_id: str) -> int:
        """How many of these there are, from the response back to the first, or to a gap; 0 without the response.

        What is in a response that has ended never changes: a chain of the same length is the same chain.
        """
        ...

    @abstractmethod
    async def find_item(self, scope: AccessScope, item_id: str) -> str | None:
        """JSON text of the input or output item of that id in a response of its partition."""
        ...


class JobStore(Protocol):
    """Background responses: a queue in the database, which any process serves."""

    @abstractmethod
    async def enqueue(self, job: Job, events: Sequence[EventRecord], limit: int) -> None:
        """Store a queued response; its conversation is leased to it until it ends.

        Errors: ``QueueFull`` when ``limit`` wait already (nothing is stored), ``ConversationNotFound``,
        ``ConversationLocked``.
        """
        ...

    @abstractmethod
    async def take(self, begun: Callable[[str], str]) -> Job | None:
        """Take up the job that has waited longest; it is in progress from now on, under a lease of this node.

        ``begun`` makes its head that of a response in progress.
        """
        ...

    @abstractmethod
    async def give_back(self, response_id: str, head: str) -> None:
        """Queue a job again that this node took up, as if it had never begun; ``head`` says so.

        The events that it has shown are not kept, and their numbers are not used again (``Job.first_event``).
        """
        ...

    @abstractmethod
    async def request_cancel(
        self, scope: AccessScope, response_id: str, cancelled: Callable[[str], str]
    ) -> ResponseRecord:
        """Ask that a background response be cancelled; one that waits still is cancelled at once.

        ``cancelled`` makes the final head from the present one. Answers with the response as it is now.
        Errors: ``ResponseNotFound``, ``NotInBackground``.
        """
        ...

    @abstractmethod
    async def cancel_requests(self, response_ids: Collection[str]) -> Collection[str]:
        """Those of these responses that are to be cancelled, or were deleted."""
        ...

    @abstractmethod
    async def add_events(self, response_id: str, events: Sequence[EventRecord]) -> None:
        """Keep events of a response that this node runs."""
        ...

    @abstractmethod
    async def events(self, scope: AccessScope, response_id: str, after: int) -> tuple[Job, Sequence[EventRecord]]:
        """The response, and its kept events behind a sequence number (some of them, if there are many).

        Errors: ``ResponseNotFound``.
        """
        ...


class PromptStore(Protocol):
    """Prompts in versions. Errors of all that name one: ``PromptNotFound``."""

    @abstractmethod
    async def create(self, scope: AccessScope, prompt: PromptRecord) -> None:
        """Store version 1."""
        ...

    @abstractmethod
    async def list(self, scope: AccessScope) -> Sequence[PromptRecord]:
        """The default version of every prompt, newest prompt first."""
        ...

    @abstractmethod
    async def get(self, scope: AccessScope, prompt_id: str, version: int | None) -> PromptRecord:
        """A version, or the default one."""
        ...

    @abstractmethod
    async def versions(self, scope: AccessScope, prompt_id: str) -> Sequence[PromptRecord]:
        """All versions, oldest first."""
        ...

    @abstractmethod
    async def add_version(self, scope: AccessScope, prompt: PromptRecord) -> bool:
        """Store ``prompt.version`` (the default if ``is_default``); false unless it follows the latest one."""
        ...

    @abstractmethod
    async def set_default(self, scope: AccessScope, prompt_id: str, version: int) -> PromptRecord:
        """Make a version the default."""
        ...

    @abstractmethod
    async def delete(self, scope: AccessScope, prompt_id: str) -> None:
        """Delete with all versions."""
        ...


class RegistryStore(Protocol):
    """Registered resources. They belong to the stack, not to a caller."""

    @abstractmethod
    async def load(self, kind: str) -> Sequence[ResourceRecord]:
        """All resources of a kind."""
        ...

    @abstractmethod
    async def replace(self, kind: str, provider_id: str, resources: Sequence[ResourceRecord]) -> None:
        """Replace all resources of a kind that a provider has."""
        ...


class IdempotencyStore(Protocol):
    """Keys by which requests have one effect; other stores mark them in the transactions that have the effects."""

    @property
    @abstractmethod
    def lease_seconds(self) -> float:
        """How long a key is held unless that is renewed."""
        ...

    @abstractmethod
    async def claim(self, hold: KeyHold, fingerprint: str) -> KeyClaim:
        """Hold a key that is new, released, or left by a process that died before anything had happened.

        Answers with ``hold`` where that is so. Errors: ``IdempotencyKeyReused`` when the key belongs to a request with
        another fingerprint.
        """
        ...

    @abstractmethod
    async def keep(self, hold: KeyHold, answer: KeptAnswer) -> None:
        """The request has ended: keep its answer for those who ask again."""
        ...

    @abstractmethod
    async def release(self, hold: KeyHold) -> None:
        """The request has ended, and whoever asks again is to try again, unless it has had its effect."""
        ...

    @abstractmethod
    async def renew_leases(self, holders: Collection[str]) -> None:
        """Renew the leases of these holders."""
        ...

    @abstractmethod
    async def purge(self) -> int:
        """Forget some of the keys that are too old; how many."""
        ...


class SecretStore(Protocol):
    """Keys that every process of a stack must share."""

    @abstractmethod
    async def keep(self, name: str, secret: str) -> str:
        """Keep a secret unless there is one of that name; the one that is kept."""
        ...


class HealthStore(Protocol):
    """The database itself."""

    @abstractmethod
    async def ping(self) -> None:
        """Errors: ``StorageUnavailable`` when the database does not answer."""
        ...

    @abstractmethod
    async def try_write(self) -> None:
        """Write something that means nothing. Errors: ``StorageUnavailable`` when that cannot be done."""
        ...


class RetentionStore(Protocol):
    """Deleting what is too old, by one process at a time. Times are microseconds since 1970."""

    @abstractmethod
    async def begin(self) -> bool:
        """Whether it is this process's turn now, and a pass is due."""
        ...

    @abstractmethod
    async def rest(self, seconds: float) -> None:
        """A pass is done: the next one is due in so many seconds, whichever process makes it."""
        ...

    @abstractmethod
    async def next_owner(self, kind: str, after: AccessScope | None) -> AccessScope | None:
        """The first one, or the next, who has any of a kind: ``conversations`` or ``responses``."""
        ...

    @abstractmethod
    async def delete_responses(self, scope: AccessScope, before: int) -> Swept | None:
        """Delete a batch of responses that were created before a time and have ended; ``None``: no more one's turn."""
        ...

    @abstractmethod
    async def delete_conversations(self, scope: AccessScope, before: int, after: AgeCursor | None) -> Swept | None:
        """Delete, of a batch of old conversations, those with no item and no turn since a time, and none that runs."""
        ...
