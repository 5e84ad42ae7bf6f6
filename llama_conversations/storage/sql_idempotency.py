"""Idempotency keys in SQL. What marks them with the effects of their requests is in ``effects``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

import orjson
from sqlalchemy import bindparam, delete, null, or_, select, update

from llama_conversations.errors import IdempotencyKeyReused
from llama_conversations.storage.database import Database
from llama_conversations.storage.effects import HELD, hold_parameters
from llama_conversations.storage.expressions import in_json_array, insert_if_absent, now_ms
from llama_conversations.storage.records import (
    MICROSECONDS,
    KeptAnswer,
    KeyBusy,
    KeyClaim,
    KeyHold,
    LostAnswer,
    now_us,
)
from llama_conversations.storage.scopes import owned_by
from llama_conversations.storage.tables import idempotency_keys as keys
from llama_conversations.storage.unit_of_work import Row, Run, RunMany, SqlValue, Statement, Unit

KEPT_SECONDS = 24 * 3600.0
"""How long a key is known, from its first use on."""

PURGE_BATCH = 200
"""Keys that are forgotten at a time."""

_THIS = (keys.c.key == bindparam("key_"), *owned_by(keys))
_KEY = (keys.c.tenant, keys.c.owner, keys.c.key)
_NO_LEASE = {"lease_holder": null(), "lease_node": null(), "lease_expires_at": null()}
_LEASE = {
    "lease_holder": bindparam("holder_"),
    "lease_node": bindparam("node_"),
    "lease_expires_at": now_ms() + bindparam("lease_ms"),
}
_FIELDS = tuple(
    keys.c[name]
    for name in ("fingerprint", "created_at", "lease_node", "response_id", "status", "headers", "body", "streamed")
)
_IS_LOST = or_(keys.c.lease_expires_at < now_ms(), in_json_array(keys.c.lease_node, bindparam("dead_nodes")))

_SELECT = Statement(select(*_FIELDS, _IS_LOST.label("is_lost")).where(*_THIS).with_for_update())
_INSERT = Statement(
    insert_if_absent(keys)
    .values(
        tenant=bindparam("tenant"),
        owner=bindparam("owner"),
        key=bindparam("key_"),
        fingerprint=bindparam("fingerprint_"),
        created_at=bindparam("created_at_"),
        **_LEASE,
    )
    .returning(keys.c.key)
)
_DELETE = Statement(delete(keys).where(*_THIS))
_TAKE_OVER = Statement(update(keys).where(*_THIS).values(**_LEASE))
_KEEP = Statement(
    update(keys)
    .where(*HELD)
    .values(
        status=bindparam("status_"),
        headers=bindparam("headers_"),
        body=bindparam("body_"),
        streamed=bindparam("streamed_"),
        **_NO_LEASE,
    )
)
_FORGET_WITHOUT_EFFECT = Statement(delete(keys).where(*HELD, keys.c.status.is_(None)))
_END_LEASE = Statement(update(keys).where(*HELD).values(**_NO_LEASE))
_RENEW = Statement(
    update(keys)
    .where(
        keys.c.lease_node.is_not(None),
        keys.c.lease_node == bindparam("node_"),
        in_json_array(keys.c.lease_holder, bindparam("holders")),
    )
    .values(lease_expires_at=now_ms() + bindparam("lease_ms"))
)
_SELECT_OLD = Statement(
    select(*_KEY)
    .where(
        keys.c.created_at < bindparam("oldest"),
        or_(keys.c.lease_expires_at.is_(None), keys.c.lease_expires_at < now_ms()),
    )
    .order_by(keys.c.created_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)


@dataclass(frozen=True, slots=True)
class _Known:
    """A key's row; ``is_lost`` when it has a lease that has run out, or whose node is dead."""

    fingerprint: str
    created_at: int
    lease_node: str | None
    response_id: str | None
    status: int | None
    headers: str | None
    body: str | None
    streamed: int
    is_lost: int | None


class SqlIdempotencyStore:
    """Implements ``stores.IdempotencyStore``.

    Args:
        lease_seconds: How long a key is held unless that is renewed.
        kept_seconds: How long a key is known.
    """

    def __init__(self, database: Database, lease_seconds: float, kept_seconds: float = KEPT_SECONDS) -> None:
        self._database = database
        self._lease_seconds, self._kept_us = lease_seconds, int(kept_seconds * MICROSECONDS)
        self._lease: dict[str, SqlValue] = {"node_": database.node, "lease_ms": int(lease_seconds * 1000)}

    @property
    def lease_seconds(self) -> float:
        """How long a key is held unless that is renewed."""
        return self._lease_seconds

    async def claim(self, hold: KeyHold, fingerprint: str) -> KeyClaim:
        """Hold a key, if it is free."""
        found = await self._claim(hold, fingerprint, ())
        if isinstance(found, KeyBusy) and (dead := self._database.dead_nodes([found.node])):
            return await self._claim(hold, fingerprint, dead)
        return found

    async def _claim(self, hold: KeyHold, fingerprint: str, dead_nodes: Collection[str]) -> KeyClaim:
        values: dict[str, SqlValue] = {
            **hold_parameters(hold),
            **self._lease,
            "fingerprint_": fingerprint,
            "dead_nodes": orjson.dumps(list(dead_nodes)).decode(),
        }
        return await self._database.write(_claim(hold, values, now_us(), self._kept_us))

    async def keep(self, hold: KeyHold, answer: KeptAnswer) -> None:
        """Keep an answer."""
        await self._database.write(_run(_KEEP, {**hold_parameters(hold), **_answer_parameters(answer)}))

    async def release(self, hold: KeyHold) -> None:
        """Forget a key whose request has had no effect; keep what came of another one."""
        await self._database.write(_release(hold))

    async def renew_leases(self, holders: Collection[str]) -> None:
        """Renew leases of this node."""
        await self._database.write(_run(_RENEW, {**self._lease, "holders": orjson.dumps(list(holders)).decode()}))

    async def purge(self) -> int:
        """Forget a batch of old keys."""
        return await self._database.write(_purge(now_us() - self._kept_us))


def _answer_parameters(answer: KeptAnswer) -> dict[str, SqlValue]:
    return {
        "status_": answer.status,
        "headers_": answer.headers,
        "body_": answer.body,
        "streamed_": int(answer.streamed),
    }


def _claim(hold: KeyHold, values: dict[str, SqlValue], now: int, kept_us: int) -> Unit[KeyClaim]:
    known = None
    while known is None:
        if (yield Run(_INSERT, {**values, "created_at_": now})):
            return hold
        rows = yield Run(_SELECT, values)  # none, if the key was forgotten meanwhile
        known = _known(rows[0]) if rows else None
        if known is not None and known.created_at < now - kept_us and (known.lease_node is None or known.is_lost):
            yield Run(_DELETE, values)
            known = None
    if known.fingerprint != values["fingerprint_"]:
        raise IdempotencyKeyReused(hold.key)
    if known.lease_node is None:
        return KeptAnswer(cast("int", known.status), known.headers or "{}", known.body, bool(known.streamed))
    if not known.is_lost:
        return KeyBusy(known.lease_node)
    if known.status is not None or known.response_id is not None:
        return LostAnswer(known.response_id, known.body)
    yield Run(_TAKE_OVER, values)
    return hold


def _known(row: Row) -> _Known:
    return _Known(*row)  # type: ignore[arg-type]  # the columns are selected in the order of the fields


def _release(hold: KeyHold) -> Unit[None]:
    yield Run(_FORGET_WITHOUT_EFFECT, hold_parameters(hold))
    yield Run(_END_LEASE, hold_parameters(hold))


def _purge(oldest: int) -> Unit[int]:
    rows = yield Run(_SELECT_OLD, {"oldest": oldest, "limit": PURGE_BATCH})
    yield RunMany(_DELETE, [{"tenant": tenant, "owner": owner, "key_": key} for tenant, owner, key in rows])
    return len(rows)


def _run(statement: Statement, values: dict[str, SqlValue]) -> Unit[Sequence[Row]]:
    return (yield Run(statement, values))
