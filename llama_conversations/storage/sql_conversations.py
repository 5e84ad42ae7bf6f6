"""Conversations in SQL: the database orders, pages, cascades and keeps ids unique."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, delete, insert, select, tuple_, update

from llama_conversations.access import AccessScope
from llama_conversations.errors import ConversationNotFound, CursorNotFound, ItemNotFound
from llama_conversations.ids import CONVERSATION_PREFIX, RESPONSE_PREFIX, partition_in, partition_of
from llama_conversations.storage.database import Database
from llama_conversations.storage.effects import is_keyed, with_answer
from llama_conversations.storage.expressions import (
    json_contains,
    json_parameter,
)
from llama_conversations.storage.records import (
    ConversationRecord,
    HistoryMark,
    HistoryPart,
    ItemRecord,
    Page,
    PageQuery,
)
from llama_conversations.storage.scopes import filtered_by_owner, owned_by, scope_parameters
from llama_conversations.storage.sql_appends import APPENDS, Append, append_items, check_distinct, insert_items
from llama_conversations.storage.tables import conversation_items as items
from llama_conversations.storage.tables import conversations, responses
from llama_conversations.storage.tables import idempotency_keys as keys
from llama_conversations.storage.unit_of_work import Row, Run, SqlValue, Statement, Unit

_FIELDS = (conversations.c.id, conversations.c.created_at, conversations.c.metadata)
_ITEM_FIELDS = (items.c.id, items.c.type, items.c.data, items.c.masked)
_THIS = (conversations.c.id == bindparam("id"), *filtered_by_owner(conversations))
_THIS_ITEM = (items.c.conversation_id == bindparam("id"), items.c.id == bindparam("item_id"))

_INSERT = Statement(
    insert(conversations).values(
        {column: bindparam(column) for column in ("id", "tenant", "owner", "created_at", "metadata", "next_position")}
    )
)
_SELECT = Statement(select(*_FIELDS).where(*_THIS))
_UPDATE_METADATA = Statement(
    update(conversations).where(*_THIS).values(metadata=bindparam("metadata_")).returning(*_FIELDS)
)
_DELETE = Statement(delete(conversations).where(*_THIS).returning(conversations.c.id))
_DELETE_RESPONSES = Statement(
    delete(responses).where(
        *filtered_by_owner(responses),
        responses.c.id >= bindparam("first"),
        responses.c.id < bindparam("end"),
        responses.c.conversation_id == bindparam("id"),
    )
)
"""Those that were made in it: their ids have its partition token."""
_DELETE_ANSWERS = Statement(
    delete(keys).where(
        *filtered_by_owner(keys), keys.c.conversation_id.is_not(None), keys.c.conversation_id == bindparam("id")
    )
)
_OF_THIS = select(*_ITEM_FIELDS).join(conversations, conversations.c.id == items.c.conversation_id).where(*_THIS)
_SELECT_ITEM = Statement(_OF_THIS.where(*_THIS_ITEM))
_SELECT_POSITION = Statement(select(items.c.position).where(*_THIS_ITEM))
_DELETE_ITEM = Statement(delete(items).where(*_THIS_ITEM).returning(items.c.id))
_BEGIN_EDITION = Statement(
    update(conversations).where(*_THIS).values(edition=conversations.c.edition + 1).returning(*_FIELDS)
)
_SELECT_MARK = Statement(select(conversations.c.edition, conversations.c.next_position).where(*_THIS))
_SELECT_SPAN = Statement(
    select(*_ITEM_FIELDS)
    .where(
        items.c.conversation_id == bindparam("id"),
        items.c.position >= bindparam("first"),
        items.c.position < bindparam("end"),
    )
    .order_by(items.c.position)
)
_SELECT_HISTORY = Statement(_OF_THIS.where(items.c.position < bindparam("position")).order_by(items.c.position))
_IN_PARTITION = select(conversations.c.id).where(
    *filtered_by_owner(conversations),
    conversations.c.id >= bindparam("first"),
    conversations.c.id < bindparam("end"),
)
_SELECT_FROM_PARTITION = Statement(
    select(*_ITEM_FIELDS).where(items.c.conversation_id.in_(_IN_PARTITION), items.c.id == bindparam("item_id")).limit(1)
)


def _item_page(descending: bool, continued: bool) -> Statement:
    query = _OF_THIS
    if continued:
        cursor: BindParameter[int] = bindparam("position")
        query = query.where(items.c.position < cursor if descending else items.c.position > cursor)
    order = items.c.position.desc() if descending else items.c.position.asc()
    return Statement(query.order_by(order).limit(bindparam("limit")))


_ITEM_PAGES = {(d, c): _item_page(d, c) for d in (False, True) for c in (False, True)}

_KEY = (conversations.c.created_at, conversations.c.id)
_CURSOR: ColumnElement[tuple[int, str]] = tuple_(bindparam("cursor_at"), bindparam("cursor_id"))


def _conversation_page(descending: bool, cursor: str | None, filtered: bool) -> Statement:
    """``cursor`` is ``after``, ``before`` or None; a page before a cursor is read backwards and turned round."""
    backwards = descending != (cursor == "before")
    query: Select[tuple[str, int, str]] = select(*_FIELDS).where(*owned_by(conversations))
    if cursor is not None:
        query = query.where(tuple_(*_KEY) < _CURSOR if backwards else tuple_(*_KEY) > _CURSOR)
    if filtered:
        query = query.where(json_contains(conversations.c.metadata, bindparam("pairs")))
    order = (column.desc() if backwards else column.asc() for column in _KEY)
    return Statement(query.order_by(*order).limit(bindparam("limit")))


_CONVERSATION_PAGES = {
    (d, c, f): _conversation_page(d, c, f)
    for d in (False, True)
    for c in (None, "after", "before")
    for f in (False, True)
}


def _conversation(row: Row) -> ConversationRecord:
    return ConversationRecord(*cast("tuple[str, int, str]", row))


def _item(row: Row) -> ItemRecord:
    return ItemRecord(*cast("tuple[str, str, str, str | None]", row))


class SqlConversationStore:
    """Implements ``stores.ConversationStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, scope: AccessScope, conversation: ConversationRecord, items: Sequence[ItemRecord]) -> None:
        """Store a new conversation with its first items."""
        check_distinct(items)
        await self._database.write(with_answer(_create(scope, conversation, items), conversation.id))

    async def get(self, scope: AccessScope, conversation_id: str) -> ConversationRecord:
        """Read a conversation."""
        return await self._database.read(_get(scope, conversation_id))

    async def list(self, scope: AccessScope, page: PageQuery, metadata: Mapping[str, str]) -> Page[ConversationRecord]:
        """Read a page of conversations, by the time of their creation."""
        return await self._database.read(_list(scope, page, metadata))

    async def update_metadata(self, scope: AccessScope, conversation_id: str, metadata: str) -> ConversationRecord:
        """Replace the metadata."""
        unit = _update_metadata(scope, conversation_id, metadata)
        return await self._database.write(with_answer(unit, conversation_id))

    async def delete(self, scope: AccessScope, conversation_id: str, *, with_responses: bool = False) -> None:
        """Delete; the items go by the foreign key's cascade, and so do the events of responses."""
        await self._database.write(_delete(scope, conversation_id, with_responses))

    async def append(self, scope: AccessScope, conversation_id: str, items: Sequence[ItemRecord]) -> None:
        """Append a batch."""
        check_distinct(items)
        append = Append(scope, conversation_id, items)
        if is_keyed() or any(item.client_id for item in items):
            await self._database.write(with_answer(append_items(append), conversation_id))
        else:
            await self._database.write_jointly(APPENDS, append)

    async def list_items(self, scope: AccessScope, conversation_id: str, page: PageQuery) -> Page[ItemRecord]:
        """Read a page of items, by position."""
        return await self._database.read(_list_items(scope, conversation_id, page))

    async def get_item(self, scope: AccessScope, conversation_id: str, item_id: str) -> ItemRecord:
        """Read an item."""
        return await self._database.read(_get_item(scope, conversation_id, item_id))

    async def delete_item(self, scope: AccessScope, conversation_id: str, item_id: str) -> ConversationRecord:
        """Delete an item; its position stays empty."""
        return await self._database.write(_delete_item(scope, conversation_id, item_id))

    async def history(self, scope: AccessScope, conversation_id: str, before_position: int) -> Sequence[ItemRecord]:
        """Read all items below a position."""
        return await self._database.read(_history(scope, conversation_id, before_position))

    async def history_since(
        self, scope: AccessScope, conversation_id: str, before_position: int, known: HistoryMark | None
    ) -> HistoryPart:
        """Read the items below a position that are not known."""
        return await self._database.read(_history_since(scope, conversation_id, before_position, known))

    async def find_item(self, scope: AccessScope, item_id: str, conversation_id: str | None) -> ItemRecord | None:
        """Find an item that is referred to by its id alone."""
        return await self._database.read(_find_item(scope, item_id, conversation_id))


def _this(scope: AccessScope, conversation_id: str) -> dict[str, SqlValue]:
    return {"id": conversation_id, **scope_parameters(scope)}


def _create(scope: AccessScope, conversation: ConversationRecord, batch: Sequence[ItemRecord]) -> Unit[None]:
    yield Run(
        _INSERT,
        {
            **_this(scope, conversation.id),
            "created_at": conversation.created_at,
            "metadata": conversation.metadata,
            "next_position": len(batch),
        },
    )
    if batch:
        yield from insert_items(conversation.id, 0, batch)


def _get(scope: AccessScope, conversation_id: str) -> Unit[ConversationRecord]:
    rows = yield Run(_SELECT, _this(scope, conversation_id))
    if not rows:
        raise ConversationNotFound(conversation_id)
    return _conversation(rows[0])


def _list(scope: AccessScope, page: PageQuery, metadata: Mapping[str, str]) -> Unit[Page[ConversationRecord]]:
    parameters: dict[str, SqlValue] = {**scope_parameters(scope), "limit": page.limit + 1}
    side, cursor = ("after", page.after) if page.after is not None else ("before", page.before)
    if cursor is not None:
        found = yield Run(_SELECT, _this(scope, cursor))
        if not found:
            raise CursorNotFound(side, cursor)
        parameters |= {"cursor_at": found[0][1], "cursor_id": cursor}
    if metadata:
        parameters["pairs"] = json_parameter(dict(metadata))
    statement = _CONVERSATION_PAGES[page.descending, side if cursor is not None else None, bool(metadata)]
    rows = yield Run(statement, parameters)
    entries = [_conversation(row) for row in rows[: page.limit]]
    if cursor is not None and side == "before":
        entries.reverse()
    return Page(entries, len(rows) > page.limit)


def _update_metadata(scope: AccessScope, conversation_id: str, metadata: str) -> Unit[ConversationRecord]:
    rows = yield Run(_UPDATE_METADATA, {**_this(scope, conversation_id), "metadata_": metadata})
    if not rows:
        raise ConversationNotFound(conversation_id)
    return _conversation(rows[0])


def _delete(scope: AccessScope, conversation_id: str, with_responses: bool) -> Unit[None]:
    rows = yield Run(_DELETE, _this(scope, conversation_id))
    if not rows:
        raise ConversationNotFound(conversation_id)
    if with_responses:
        first = f"{RESPONSE_PREFIX}_{partition_of(conversation_id)}"
        yield Run(_DELETE_RESPONSES, {**_this(scope, conversation_id), "first": first, "end": f"{first}g"})
        yield Run(_DELETE_ANSWERS, _this(scope, conversation_id))


def _list_items(scope: AccessScope, conversation_id: str, page: PageQuery) -> Unit[Page[ItemRecord]]:
    parameters: dict[str, SqlValue] = {**_this(scope, conversation_id), "limit": page.limit + 1}
    if page.after is not None:
        yield from _get(scope, conversation_id)
        found = yield Run(_SELECT_POSITION, {"id": conversation_id, "item_id": page.after})
        if not found:
            raise CursorNotFound("after", page.after)
        parameters["position"] = found[0][0]
    rows = yield Run(_ITEM_PAGES[page.descending, page.after is not None], parameters)
    if not rows:  # after the page: a conversation that is there now was there then
        yield from _get(scope, conversation_id)
    return Page([_item(row) for row in rows[: page.limit]], len(rows) > page.limit)


def _get_item(scope: AccessScope, conversation_id: str, item_id: str) -> Unit[ItemRecord]:
    rows = yield Run(_SELECT_ITEM, {**_this(scope, conversation_id), "item_id": item_id})
    if not rows:
        yield from _get(scope, conversation_id)
        raise ItemNotFound(item_id, conversation_id)
    return _item(rows[0])


def _delete_item(scope: AccessScope, conversation_id: str, item_id: str) -> Unit[ConversationRecord]:
    changed = yield Run(_BEGIN_EDITION, _this(scope, conversation_id))
    if not changed:
        raise ConversationNotFound(conversation_id)
    rows = yield Run(_DELETE_ITEM, {"id": conversation_id, "item_id": item_id})
    if not rows:
        raise ItemNotFound(item_id, conversation_id)
    return _conversation(changed[0])


def _history(scope: AccessScope, conversation_id: str, before_position: int) -> Unit[Sequence[ItemRecord]]:
    rows = yield Run(_SELECT_HISTORY, {**_this(scope, conversation_id), "position": before_position})
    return [_item(row) for row in rows]


def _history_since(
    scope: AccessScope, conversation_id: str, before_position: int, known: HistoryMark | None
) -> Unit[HistoryPart]:
    rows = yield Run(_SELECT_MARK, _this(scope, conversation_id))
    if not rows:
        return HistoryPart((), None, continues=False)
    edition, next_position = cast("tuple[int, int]", rows[0])
    end = min(before_position, next_position)
    continues = known is not None and known.edition == edition and known.position <= end
    first = known.position if known is not None and continues else 0
    found = (yield Run(_SELECT_SPAN, {"id": conversation_id, "first": first, "end": end})) if first < end else ()
    return HistoryPart([_item(row) for row in found], HistoryMark(edition, end), continues)


def _find_item(scope: AccessScope, item_id: str, conversation_id: str | None) -> Unit[ItemRecord | None]:
    if conversation_id is not None:
        rows = yield Run(_SELECT_ITEM, {**_this(scope, conversation_id), "item_id": item_id})
        if rows:
            return _item(rows[0])
        yield from _get(scope, conversation_id)
    partition = partition_in(item_id)
    if partition is None:
        return None
    first = f"{CONVERSATION_PREFIX}_{partition}"
    rows = yield Run(
        _SELECT_FROM_PARTITION,
        # "g" follows the last hex digit: all ids of the partition lie between the two.
        {**scope_parameters(scope), "first": first, "end": f"{first}g", "item_id": item_id},
    )
    return _item(rows[0]) if rows else None
