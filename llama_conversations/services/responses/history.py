"""Histories that turns continue, and those that were read lately: the next turn reads only what is new."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import overload

from pydantic_core import from_json

from llama_conversations.errors import InvalidParameter
from llama_conversations.services.responses.chat_messages import Unseal, chat_messages
from llama_conversations.services.responses.chat_parts import Named, Utterance, call_ids, plain_name
from llama_conversations.services.responses.settled_messages import NOTHING_SETTLED, settle
from llama_conversations.storage.records import HistoryMark, ItemRecord
from llama_conversations.wire.items import (
    INPUT_ITEM,
    Compaction,
    Item,
    PlainMessage,
    ToldItem,
    item_model,
    modelled,
    stored_plain_message,
)

CACHED_BYTES = 64 << 20
"""What the histories that were read lately may take in memory, roughly."""

_ITEM_BYTES = 400
"""What an item takes beside its text: its record, its id, its places in lists and sets."""


class History:
    """Items that a turn continues, oldest first. It never changes; what is settled of it is found at first use.

    Attributes:
        mark: What it is of a conversation, as the store knows it.
        links: Of how many responses it is all that was said, where it is a whole chain's; otherwise ``None``.
        ids: The items' ids.
        settled: The messages of its beginning.
        size: What it takes in memory, in bytes, roughly; twice the texts, for they are kept as messages, too.
    """

    __slots__ = ("ids", "links", "mark", "records", "settled", "size")

    def __init__(
        self, records: Sequence[ItemRecord] = (), mark: HistoryMark | None = None, links: int | None = None
    ) -> None:
        self.records, self.mark, self.links = records, mark, links
        self.ids: AbstractSet[str] = {record.id for record in records}
        self.size = sum(_size(record) for record in records)
        self.settled = NOTHING_SETTLED

    def continued(
        self, records: Sequence[ItemRecord], mark: HistoryMark | None = None, links: int | None = None
    ) -> History:
        """The same with more items behind it."""
        longer = History(records, mark, links)
        longer.records = [*self.records, *records]
        longer.ids = self.ids | longer.ids
        longer.size += self.size
        longer.settled = self.settled
        return longer


NO_HISTORY = History()


class Context(Sequence[Item]):
    """The items that a model is given: a history, and what the turn adds to it.

    Plain messages are made into models only where somebody looks at them.
    """

    def __init__(self, history: History, new: Sequence[ToldItem]) -> None:
        self._history, self._new = history, new
        self._settled = history.settled
        self._behind: Sequence[ToldItem] | None = None

    def plus(self, items: Iterable[Item]) -> Context:
        """The context with more items behind it."""
        more = Context(self._history, [*self._new, *items])
        more._settled, more._behind = self._settled, self._behind
        return more

    def __len__(self) -> int:
        return len(self._history.records) + len(self._new)

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        return self._items[place]

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @cached_property
    def _items(self) -> Sequence[Item]:
        return [*read_items(self._history.records), *map(item_model, self._new)]

    @property
    def told(self) -> Sequence[ToldItem]:
        """All items, for who tells them to a model."""
        return [*read_told(self._history.records[: self._settled.items]), *self.untold]

    @property
    def untold(self) -> Sequence[ToldItem]:
        """The items whose messages are yet to be made."""
        return [*self._unsettled(), *self._new]

    @property
    def ids(self) -> AbstractSet[str]:
        """The ids of all items."""
        return self._history.ids | {item.id for item in self._new if item.id is not None}

    @property
    def call_ids(self) -> AbstractSet[str]:
        """The ids of all calls."""
        return self._settled.call_ids | call_ids(self.untold)

    def chat_messages(self, preamble: Sequence[Utterance], unseal: Unseal, named: Named = plain_name) -> list[bytes]:
        """As the function of that name; the messages of the history's beginning are one piece. Errors: as there."""
        if any(isinstance(item, Compaction) for item in modelled(self._new)):
            return chat_messages(preamble, self, unseal, named)
        try:
            self._settle(unseal, named)
            pieces = [self._settled.text] if self._settled.text else []
            return [*chat_messages(preamble, (), unseal), *pieces, *chat_messages((), self.untold, unseal, named)]
        except InvalidParameter:  # what is wrong is told of the whole
            return chat_messages(preamble, self, unseal, named)

    def _settle(self, unseal: Unseal, named: Named) -> None:
        """Settle what can be; the next turn will find it done."""
        before, behind = self._settled, self._unsettled()
        if before.items and (not before.fits(named) or any(isinstance(item, Compaction) for item in modelled(behind))):
            before, behind = NOTHING_SETTLED, read_told(self._history.records)
        self._settled = self._history.settled = settle(before, behind, unseal, named)
        self._behind = behind[self._settled.items - before.items :]

    def _unsettled(self) -> Sequence[ToldItem]:
        if self._behind is None:
            self._behind = read_told(self._history.records[self._settled.items :])
        return self._behind


class Histories:
    """Histories that were read lately, up to so many bytes; the one that was not asked for the longest goes first."""

    def __init__(self, max_bytes: int = CACHED_BYTES) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._by_end: OrderedDict[str, History] = OrderedDict()

    def get(self, end: str) -> History | None:
        """The history of a conversation as it was last read, or of a chain; what is there now the store must say.

        Args:
            end: The id of the conversation, or of the chain's last response.
        """
        found = self._by_end.get(end)
        if found is not None:
            self._by_end.move_to_end(end)
        return found

    def put(self, end: str, history: History) -> None:
        """Keep a history that was just read, if the store can say later whether it is still true."""
        self.forget(end)
        if (history.mark is None and history.links is None) or history.size > self._max_bytes:
            return
        self._by_end[end] = history
        self._bytes += history.size
        while self._bytes > self._max_bytes:
            self.forget(next(iter(self._by_end)))

    def forget(self, end: str) -> None:
        """Keep nothing of a conversation, or of a chain."""
        gone = self._by_end.pop(end, None)
        if gone is not None:
            self._bytes -= gone.size


def read_items(records: Sequence[ItemRecord]) -> Sequence[Item]:
    """Stored items as models."""
    items = (INPUT_ITEM.validate_json(record.data) for record in records)
    return [item for item in items if isinstance(item, Item)]


def read_told(records: Sequence[ItemRecord]) -> Sequence[ToldItem]:
    """Stored items, of which plain messages need no models."""
    items = (_plain(record) or INPUT_ITEM.validate_json(record.data) for record in records)
    return [item for item in items if isinstance(item, ToldItem)]


def _plain(record: ItemRecord) -> PlainMessage | None:
    return stored_plain_message(from_json(record.data)) if record.type == "message" else None


def _size(record: ItemRecord) -> int:
    return _ITEM_BYTES + 2 * len(record.data)
