"""Deleting what is too old, in small transactions, by one process at a time.

No index is kept for it: those by which an owner's conversations and responses are listed are in the order of their
creation. So a pass goes from owner to owner, by one look-up each, and reads the oldest of each owner's own.
"""

from __future__ import annotations

from typing import cast

import orjson
from sqlalchemy import bindparam, delete, func, null, or_, select, tuple_, update

from llama_conversations.access import AccessScope
from llama_conversations.storage.database import Database
from llama_conversations.storage.expressions import in_json_array, now_ms
from llama_conversations.storage.records import AgeCursor, Swept
from llama_conversations.storage.scopes import owned_by, scope_parameters
from llama_conversations.storage.tables import conversation_items as items
from llama_conversations.storage.tables import conversations, leases, responses
from llama_conversations.storage.unit_of_work import Run, SqlValue, Statement, Unit

RESPONSES_AT_ONCE = 100
"""Responses that go in a transaction."""

CONVERSATIONS_AT_ONCE = 20
"""Conversations that are looked at in a transaction; each goes with its items, whose number is not bounded."""

LEASE_MS = 60_000
"""How long a process may take from one batch to the next before another one may go on."""

_LEASE = leases.c.name == bindparam("name_")
_OURS = (_LEASE, leases.c.holder == bindparam("holder_"))

_TAKE = Statement(
    update(leases)
    .where(_LEASE, or_(leases.c.holder.is_(None), leases.c.expires_at < now_ms()))
    .values(holder=bindparam("holder_"), expires_at=now_ms() + bindparam("lease_ms"))
    .returning(leases.c.name)
)
_RENEW = Statement(
    update(leases).where(*_OURS).values(expires_at=now_ms() + bindparam("lease_ms")).returning(leases.c.name)
)

_NEXT_OWNER = {
    table.name: Statement(
        select(table.c.tenant, table.c.owner)
        .where(tuple_(table.c.tenant, table.c.owner) > tuple_(bindparam("tenant"), bindparam("owner")))
        .order_by(table.c.tenant, table.c.owner)
        .limit(1)
    )
    for table in (conversations, responses)
}
_ENDED = (responses.c.status != "queued", responses.c.status != "in_progress")
_SELECT_OLD_RESPONSES = Statement(
    select(responses.c.id)
    .where(*owned_by(responses), responses.c.created_at < bindparam("oldest"), *_ENDED)
    .order_by(responses.c.created_at, responses.c.id)
    .limit(bindparam("limit"))
)
_DELETE_RESPONSES = Statement(delete(responses).where(in_json_array(responses.c.id, bindparam("ids")), *_ENDED))
_SELECT_OLD = Statement(
    select(conversations.c.created_at, conversations.c.id)
    .where(
        *owned_by(conversations),
        tuple_(conversations.c.created_at, conversations.c.id) > tuple_(bindparam("after_at"), bindparam("after_id")),
        conversations.c.created_at < bindparam("oldest"),
    )
    .order_by(conversations.c.created_at, conversations.c.id)
    .limit(bindparam("limit"))
)
_NEWEST_ITEM = (
    select(items.c.created_at)
    .where(items.c.conversation_id == conversations.c.id)
    .order_by(items.c.position.desc())
    .limit(1)
    .correlate(conversations)
    .scalar_subquery()
)
_DELETE_IDLE = Statement(
    delete(conversations)
    .where(
        in_json_array(conversations.c.id, bindparam("ids")),
        conversations.c.lease_holder.is_(null()),
        func.coalesce(_NEWEST_ITEM, conversations.c.created_at) < bindparam("oldest"),
    )
    .returning(conversations.c.id)
)


class SqlRetentionStore:
    """Implements ``stores.RetentionStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lease: dict[str, SqlValue] = {"name_": "retention", "holder_": database.node, "lease_ms": LEASE_MS}

    async def begin(self) -> bool:
        """Take the lease."""
        return await self._database.write(_has_row(_TAKE, self._lease))

    async def rest(self, seconds: float) -> None:
        """Keep the lease, as long as nothing is to be done."""
        await self._database.write(_has_row(_RENEW, {**self._lease, "lease_ms": int(seconds * 1000)}))

    async def next_owner(self, kind: str, after: AccessScope | None) -> AccessScope | None:
        """Look up the next one."""
        return await self._database.read(_next_owner(_NEXT_OWNER[kind], after))

    async def delete_responses(self, scope: AccessScope, before: int) -> Swept | None:
        """Delete a batch."""
        return await self._database.write(_delete_responses(self._lease, scope, before))

    async def delete_conversations(self, scope: AccessScope, before: int, after: AgeCursor | None) -> Swept | None:
        """Look at a batch, and delete those that are idle."""
        return await self._database.write(_delete_conversations(self._lease, scope, before, after))


def _has_row(statement: Statement, values: dict[str, SqlValue]) -> Unit[bool]:
    return bool((yield Run(statement, values)))


def _next_owner(statement: Statement, after: AccessScope | None) -> Unit[AccessScope | None]:
    rows = yield Run(statement, scope_parameters(after) if after else {"tenant": "", "owner": ""})
    return AccessScope(*cast("tuple[str, str]", rows[0])) if rows else None


def _delete_responses(lease: dict[str, SqlValue], scope: AccessScope, before: int) -> Unit[Swept | None]:
    if not (yield Run(_RENEW, lease)):
        return None
    values = {**scope_parameters(scope), "oldest": before, "limit": RESPONSES_AT_ONCE}
    old = [cast("str", row[0]) for row in (yield Run(_SELECT_OLD_RESPONSES, values))]
    if old:
        yield Run(_DELETE_RESPONSES, {"ids": orjson.dumps(old).decode()})
    return Swept(len(old), None, len(old) == RESPONSES_AT_ONCE)


def _delete_conversations(
    lease: dict[str, SqlValue], scope: AccessScope, before: int, after: AgeCursor | None
) -> Unit[Swept | None]:
    if not (yield Run(_RENEW, lease)):
        return None
    after = after or AgeCursor(0, "")
    values: dict[str, SqlValue] = {"oldest": before, "after_at": after.created_at, "after_id": after.id}
    rows = yield Run(_SELECT_OLD, {**scope_parameters(scope), **values, "limit": CONVERSATIONS_AT_ONCE})
    old = [AgeCursor(*cast("tuple[int, str]", row)) for row in rows]
    if not old:
        return Swept(0, after, has_more=False)
    ids = orjson.dumps([one.id for one in old]).decode()
    deleted = yield Run(_DELETE_IDLE, {"ids": ids, "oldest": before})
    return Swept(len(deleted), old[-1], len(old) == CONVERSATIONS_AT_ONCE)
