"""Leases of turns in SQL: renewed while their process lives, and ended, with their turns, when it is dead.

A turn's process leases the response and the conversation. A response in the background holds its conversation without
a process between one and the next: ``lease_holder`` alone is set then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from sqlalchemy import and_, bindparam, null, or_, select, update

from llama_conversations.storage.expressions import in_json_array, now_ms, unindexed
from llama_conversations.storage.scopes import filtered_by_owner
from llama_conversations.storage.tables import conversations, responses
from llama_conversations.storage.unit_of_work import Run, SqlValue, Statement, Unit

SWEEP_BATCH = 100
"""Expired turns that one sweep takes."""

NO_LEASE = {"lease_node": null(), "lease_expires_at": null()}
"""What the columns of a lease are set to when it ends."""

NEW_LEASE = {"lease_node": bindparam("node"), "lease_expires_at": now_ms() + bindparam("lease_ms")}
"""What they are set to when it begins."""

IS_FREE = or_(conversations.c.lease_holder.is_(None), conversations.c.lease_expires_at < now_ms())
"""Condition that leaves conversations that a turn may take."""

THIS_CONVERSATION = (conversations.c.id == bindparam("conversation_id"), *filtered_by_owner(conversations))
"""Conditions that leave the conversation ``conversation_id``, if it is the caller's."""

THIS_RESPONSE = (responses.c.id == bindparam("id"), *filtered_by_owner(responses))
"""Conditions that leave the response ``id``, if it is the caller's."""

SELECT_CONVERSATION = Statement(select(conversations.c.id).where(*THIS_CONVERSATION))
"""Whether it is there."""

_LOCK_HELD = Statement(
    select(conversations.c.id)
    .where(
        conversations.c.id == bindparam("conversation_id"),
        conversations.c.lease_holder == bindparam("holder"),
        conversations.c.lease_node.is_(None),
    )
    .with_for_update()
)
_FREE_CONVERSATION = Statement(
    update(conversations)
    .where(
        conversations.c.id == bindparam("conversation_id"),
        conversations.c.lease_holder == bindparam("holder"),
        conversations.c.lease_node.is_(None),
    )
    .values(lease_holder=null(), **NO_LEASE)
)
_RENEW = tuple(
    Statement(
        update(holder.table)
        .where(
            holder.table.c.lease_node.is_not(None),
            holder.table.c.lease_node == bindparam("node_"),
            in_json_array(holder, bindparam("holders")),
        )
        .values(lease_expires_at=now_ms() + bindparam("lease_ms"))
    )
    for holder in (conversations.c.lease_holder, responses.c.id)
)
_SELECT_NODES = tuple(
    Statement(select(table.c.lease_node).where(table.c.lease_node.is_not(None)).distinct())
    for table in (conversations, responses)
)
_EXPIRED = {
    table: and_(
        table.c.lease_node.is_not(None),
        or_(
            table.c.lease_expires_at < now_ms(),
            in_json_array(table.c.lease_node, bindparam("dead_nodes")),
        ),
    )
    for table in (conversations, responses)
}
_FREE_EXPIRED = Statement(
    update(conversations)
    .where(
        conversations.c.id.in_(
            select(conversations.c.id).where(_EXPIRED[conversations]).with_for_update(skip_locked=True)
        )
    )
    .values(lease_holder=null(), **NO_LEASE)
)
_SELECT_EXPIRED = Statement(
    select(responses.c.id, responses.c.head, responses.c.conversation_id)
    .where(_EXPIRED[responses])
    .order_by(unindexed(responses.c.id))  # all sweeps lock them in one order
    .limit(bindparam("limit"))
)
_FAIL = Statement(
    update(responses)
    .where(responses.c.id == bindparam("id_"), _EXPIRED[responses])
    .values(status="failed", head=bindparam("head_"), **NO_LEASE)
    .returning(responses.c.id)
)


def renew_leases(lease: dict[str, SqlValue]) -> Unit[None]:
    for statement in _RENEW:
        yield Run(statement, lease)


def leasing_nodes() -> Unit[set[str]]:
    nodes: set[str] = set()
    for statement in _SELECT_NODES:
        rows = yield Run(statement, {})
        nodes.update(cast("str", row[0]) for row in rows)
    return nodes


def sweep(dead_nodes: str, failed: Callable[[str], str]) -> Unit[Sequence[str]]:
    yield Run(_FREE_EXPIRED, {"dead_nodes": dead_nodes})
    rows = yield Run(_SELECT_EXPIRED, {"dead_nodes": dead_nodes, "limit": SWEEP_BATCH})
    swept = []
    for response_id, head, conversation_id in cast("Sequence[tuple[str, str, str | None]]", rows):
        yield from lock_held(conversation_id, response_id)
        if (yield Run(_FAIL, {"id_": response_id, "head_": failed(head), "dead_nodes": dead_nodes})):
            yield from free_held(conversation_id, response_id)
            swept.append(response_id)
    return swept


def lock_held(conversation_id: str | None, response_id: str) -> Unit[None]:
    """Part of a unit of work that is about to end a response: a conversation is locked before its responses.

    So nobody who ends a turn and locks both waits for somebody who waits for him.
    """
    if conversation_id is not None:
        yield Run(_LOCK_HELD, {"conversation_id": conversation_id, "holder": response_id})


def free_held(conversation_id: str | None, response_id: str) -> Unit[None]:
    """Part of a unit of work: give back a conversation that a response holds without a node, in the background.

    A turn of a living process gives back its conversation itself.
    """
    if conversation_id is not None:
        yield Run(_FREE_CONVERSATION, {"conversation_id": conversation_id, "holder": response_id})
