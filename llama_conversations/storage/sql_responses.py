"""Responses and turns in SQL.

A turn is two transactions: ``claim`` leases the conversation and stores the response as in progress; ``commit`` appends
the items, stores the final response and gives the lease back. Between them nothing is locked in the database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import cast

import orjson
from pydantic_core import from_json, to_json
from sqlalchemy import (
    CTE,
    ColumnElement,
    and_,
    bindparam,
    delete,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from llama_conversations.access import AccessScope
from llama_conversations.errors import (
    CursorNotFound,
    OutcomeUnknown,
    PreviousResponseNotFound,
    ResponseNotFound,
    StorageUnavailable,
    TurnLost,
)
from llama_conversations.ids import RESPONSE_PREFIX, partition_in
from llama_conversations.storage.database import Database
from llama_conversations.storage.effects import is_keyed, with_response, with_result, without_response
from llama_conversations.storage.records import (
    HistoryMark,
    Page,
    PageQuery,
    ResponseRecord,
    TurnClaim,
    TurnCommit,
    join_response,
)
from llama_conversations.storage.response_rows import RESPONSE_FIELDS, read_response
from llama_conversations.storage.scopes import filtered_by_owner, owned_by, scope_parameters
from llama_conversations.storage.sql_appends import check_distinct
from llama_conversations.storage.sql_claims import CLAIMS, Claim, claim_turn
from llama_conversations.storage.sql_commits import END_LEASE, TURN_ENDS, TurnEnd, end_turn
from llama_conversations.storage.sql_leases import (
    THIS_RESPONSE,
    free_held,
    leasing_nodes,
    lock_held,
    renew_leases,
    sweep,
)
from llama_conversations.storage.tables import responses
from llama_conversations.storage.unit_of_work import Run, SqlValue, Statement, Unit

IN_DOUBT_SECONDS = 30.0
"""How long a turn waits for a database that went away while it committed."""

AGAIN_SECONDS = 0.2
"""Between two tries."""

_SELECT = Statement(select(*RESPONSE_FIELDS).where(*THIS_RESPONSE))
_SELECT_CONVERSATION_OF = Statement(select(responses.c.conversation_id).where(*THIS_RESPONSE))
_DELETE = Statement(delete(responses).where(*THIS_RESPONSE).returning(responses.c.id))


def _chain_of(name: str, fields: Sequence[ColumnElement[str]]) -> CTE:
    """A response and all before it, with these fields, and how far back each is (``depth``)."""
    newest = select(*fields, literal(0).label("depth")).where(*THIS_RESPONSE).cte(name, recursive=True)
    before = and_(responses.c.id == newest.c.previous_response_id, *filtered_by_owner(responses))
    return newest.union_all(select(*fields, newest.c.depth + 1).join(newest, before))


_chain = _chain_of("chain", RESPONSE_FIELDS)
_SELECT_CHAIN = Statement(
    select(*(_chain.c[column.name] for column in RESPONSE_FIELDS)).order_by(_chain.c.depth.desc())
)

_COUNT_LINKS = Statement(
    select(func.count()).select_from(_chain_of("links", (responses.c.id, responses.c.previous_response_id)))
)

_SELECT_FROM_PARTITION = Statement(
    select(responses.c.input, responses.c.output).where(
        *filtered_by_owner(responses),
        responses.c.id >= bindparam("first"),
        responses.c.id < bindparam("end"),
        or_(
            responses.c.output.contains(bindparam("item_id"), autoescape=False),
            responses.c.input.contains(bindparam("item_id"), autoescape=False),
        ),
    )
)


def _page(descending: bool, cursor: str | None, of_model: bool) -> Statement:
    key = (responses.c.created_at, responses.c.id)
    backwards = descending != (cursor == "before")
    query = select(*RESPONSE_FIELDS).where(*owned_by(responses))
    if cursor is not None:
        here = tuple_(bindparam("cursor_at"), bindparam("cursor_id"))
        query = query.where(tuple_(*key) < here if backwards else tuple_(*key) > here)
    if of_model:
        query = query.where(responses.c.model == bindparam("model"))
    order = (column.desc() if backwards else column.asc() for column in key)
    return Statement(query.order_by(*order).limit(bindparam("limit")))


_PAGES = {(d, c, m): _page(d, c, m) for d in (False, True) for c in (None, "after", "before") for m in (False, True)}


class SqlResponseStore:
    """Implements ``stores.ResponseStore``.

    Args:
        lease_seconds: How long a lease lasts unless it is renewed.
    """

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database, self._lease_seconds = database, lease_seconds
        self._lease_ms = int(lease_seconds * 1000)

    async def claim(self, scope: AccessScope, claim: TurnClaim) -> HistoryMark | None:
        """Begin a turn."""
        begun = Claim(scope, claim, self._database.node, self._lease_ms)
        # What nobody is told of need not wait for the disk: the commit, which does, takes it along.
        if not is_keyed():
            return await self._database.write_jointly(CLAIMS, begun, durable=claim.told)
        stored_id = None if claim.response is None else claim.response_id
        unit = with_response(claim_turn(begun), stored_id, claim.conversation_id)
        return await self._database.write(unit, durable=claim.told)

    async def commit(self, scope: AccessScope, commit: TurnCommit) -> HistoryMark | None:
        """End a turn."""
        check_distinct(commit.items)
        try:
            return await self._end(TurnEnd(scope, commit, self._database.node))
        except OutcomeUnknown:
            return await self._commit_again(scope, commit)

    async def _commit_again(self, scope: AccessScope, commit: TurnCommit) -> HistoryMark | None:
        """Do it once more, when the database is back, if it is within the lease.

        If it was done the first time, the lease is gone, and the response says how the turn ended.
        """
        end = time.monotonic() + min(self._lease_seconds, IN_DOUBT_SECONDS)
        while True:
            try:
                return await self._end(TurnEnd(scope, commit, self._database.node))
            except TurnLost:
                break
            except (StorageUnavailable, OutcomeUnknown):
                if time.monotonic() > end:
                    raise OutcomeUnknown from None
            await asyncio.sleep(AGAIN_SECONDS)
        try:
            has_ended = await self._database.read(_has_ended_as(scope, commit))
        except StorageUnavailable:
            has_ended = False
        if not has_ended:
            raise OutcomeUnknown
        return None

    async def _end(self, end: TurnEnd) -> HistoryMark | None:
        commit = end.commit
        if not is_keyed() and end.is_plain:
            return await self._database.write_jointly(TURN_ENDS, end)
        unit = end_turn(end)
        if commit.status in ("completed", "incomplete"):
            unit = with_result(unit, lambda: join_response(commit.head, commit.output), commit.conversation_id)
        return await self._database.write(unit)

    async def unclaim(self, scope: AccessScope, response_id: str, conversation_id: str | None) -> None:
        """Undo a claim."""
        await self._database.write(without_response(_unclaim(scope, response_id, conversation_id)))

    async def renew_leases(self, response_ids: Collection[str]) -> None:
        """Renew leases of this node."""
        holders = orjson.dumps(list(response_ids)).decode()
        lease: dict[str, SqlValue] = {"node_": self._database.node, "lease_ms": self._lease_ms, "holders": holders}
        await self._database.write(renew_leases(lease))

    async def sweep(self, failed: Callable[[str], str]) -> Sequence[str]:
        """End turns whose node has died."""
        nodes = await self._database.read(leasing_nodes())
        if not nodes:
            return ()
        dead = orjson.dumps(list(self._database.dead_nodes(nodes))).decode()
        return await self._database.write(sweep(dead, failed))

    async def get(self, scope: AccessScope, response_id: str) -> ResponseRecord:
        """Read a response."""
        return await self._database.read(_get(scope, response_id))

    async def list(self, scope: AccessScope, page: PageQuery, model: str | None) -> Page[ResponseRecord]:
        """Read a page of responses, by the time of their creation."""
        return await self._database.read(_list(scope, page, model))

    async def delete(self, scope: AccessScope, response_id: str) -> None:
        """Delete a response."""
        await self._database.write(_delete(scope, response_id))

    async def chain(self, scope: AccessScope, response_id: str) -> Sequence[ResponseRecord]:
        """Read a response and all before it."""
        return await self._database.read(_read_chain(scope, response_id))

    async def chain_length(self, scope: AccessScope, response_id: str) -> int:
        """Count a response and those before it."""
        return await self._database.read(_count_links(scope, response_id))

    async def find_item(self, scope: AccessScope, item_id: str) -> str | None:
        """Find an item that is referred to by its id alone."""
        return await self._database.read(_find_item(scope, item_id))


def _this(scope: AccessScope, response_id: str) -> dict[str, SqlValue]:
    return {"id": response_id, **scope_parameters(scope)}


def _has_ended_as(scope: AccessScope, commit: TurnCommit) -> Unit[bool]:
    rows = yield Run(_SELECT, _this(scope, commit.response_id))
    return any(
        (response.status, response.head) == (commit.status, commit.head) for response in map(read_response, rows)
    )


def _unclaim(scope: AccessScope, response_id: str, conversation_id: str | None) -> Unit[None]:
    if conversation_id is not None:
        this = {"conversation_id": conversation_id, **scope_parameters(scope)}
        yield Run(END_LEASE, {**this, "holder": response_id, "count": 0})
    yield Run(_DELETE, _this(scope, response_id))


def _get(scope: AccessScope, response_id: str) -> Unit[ResponseRecord]:
    rows = yield Run(_SELECT, _this(scope, response_id))
    if not rows:
        raise ResponseNotFound(response_id)
    return read_response(rows[0])


def _list(scope: AccessScope, page: PageQuery, model: str | None) -> Unit[Page[ResponseRecord]]:
    parameters: dict[str, SqlValue] = {**scope_parameters(scope), "limit": page.limit + 1, "model": model}
    side, cursor = ("after", page.after) if page.after is not None else ("before", page.before)
    if cursor is not None:
        found = yield Run(_SELECT, _this(scope, cursor))
        if not found:
            raise CursorNotFound(side, cursor)
        parameters |= {"cursor_at": found[0][1], "cursor_id": cursor}
    rows = yield Run(_PAGES[page.descending, side if cursor is not None else None, model is not None], parameters)
    entries = [read_response(row) for row in rows[: page.limit]]
    if cursor is not None and side == "before":
        entries.reverse()
    return Page(entries, len(rows) > page.limit)


def _delete(scope: AccessScope, response_id: str) -> Unit[None]:
    rows = yield Run(_SELECT_CONVERSATION_OF, _this(scope, response_id))
    conversation_id = cast("str | None", rows[0][0]) if rows else None
    yield from lock_held(conversation_id, response_id)
    if not (yield Run(_DELETE, _this(scope, response_id))):
        raise ResponseNotFound(response_id)
    yield from free_held(conversation_id, response_id)


def _read_chain(scope: AccessScope, response_id: str) -> Unit[Sequence[ResponseRecord]]:
    rows = yield Run(_SELECT_CHAIN, _this(scope, response_id))
    chain = [read_response(row) for row in rows]
    if not chain:
        raise PreviousResponseNotFound(response_id)
    missing = chain[0].previous_response_id
    if missing is not None:
        raise PreviousResponseNotFound(missing)
    return chain


def _count_links(scope: AccessScope, response_id: str) -> Unit[int]:
    [[length]] = yield Run(_COUNT_LINKS, _this(scope, response_id))
    return cast("int", length)


def _find_item(scope: AccessScope, item_id: str) -> Unit[str | None]:
    partition = partition_in(item_id)
    if partition is None:
        return None
    first = f"{RESPONSE_PREFIX}_{partition}"
    parameters = {**scope_parameters(scope), "first": first, "end": f"{first}g", "item_id": item_id}
    rows = yield Run(_SELECT_FROM_PARTITION, parameters)
    for texts in rows:
        for text in texts:
            for item in from_json(cast("str", text)):
                if item["id"] == item_id:
                    return to_json(item).decode()
    return None
