"""Items appended to a conversation in SQL: each batch whole, at positions of its own, in the order of its items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import cast

from sqlalchemy import bindparam, insert, select, update

from llama_conversations.access import AccessScope
from llama_conversations.errors import ConversationNotFound, DuplicateItem
from llama_conversations.storage.expressions import in_json_array, json_number, json_parameter
from llama_conversations.storage.records import ItemRecord, now_us
from llama_conversations.storage.scopes import scope_parameters
from llama_conversations.storage.sql_leases import THIS_CONVERSATION
from llama_conversations.storage.tables import conversation_items as items
from llama_conversations.storage.tables import conversations
from llama_conversations.storage.unit_of_work import JointWork, Run, RunMany, Served, SqlValue, Statement, Unit
from llama_conversations.storage.unlocked import read_unlocked, select_unlocked, unlocked_parameters

_TAKE_POSITIONS = Statement(
    update(conversations)
    .where(*THIS_CONVERSATION)
    .values(next_position=conversations.c.next_position + bindparam("count"))
    .returning(conversations.c.next_position)
)
_SELECT_NEXT_POSITIONS = Statement(select_unlocked(conversations, [conversations.c.next_position]))
_ADD_TO_POSITIONS = Statement(
    update(conversations)
    .where(in_json_array(conversations.c.id, bindparam("ids")))
    .values(next_position=conversations.c.next_position + json_number(bindparam("counts"), conversations.c.id))
)
INSERT_ITEM = Statement(
    insert(items).values(
        {
            column: bindparam(column)
            for column in ("conversation_id", "position", "id", "type", "data", "masked", "created_at")
        }
    )
)
_SELECT_HELD_IDS = Statement(
    select(items.c.id)
    .where(items.c.conversation_id == bindparam("id"), in_json_array(items.c.id, bindparam("ids")))
    .order_by(items.c.id)
)


def check_distinct(batch: Sequence[ItemRecord]) -> None:
    """Errors: ``DuplicateItem`` when a batch holds an id twice."""
    seen: set[str] = set()
    for item in batch:
        if item.id in seen:
            raise DuplicateItem(item.id)
        seen.add(item.id)


def insert_items(conversation_id: str, first_position: int, batch: Sequence[ItemRecord]) -> Unit[None]:
    """Part of a unit of work: store a batch at positions that were taken for it."""
    client_ids = [item.id for item in batch if item.client_id]
    if client_ids and first_position > 0:
        held = yield Run(_SELECT_HELD_IDS, {"id": conversation_id, "ids": json_parameter(client_ids)})
        if held:
            raise DuplicateItem(str(held[0][0]))
    yield RunMany(INSERT_ITEM, item_rows(conversation_id, first_position, batch))


def item_rows(conversation_id: str, first_position: int, batch: Sequence[ItemRecord]) -> list[dict[str, SqlValue]]:
    """Rows of ``INSERT_ITEM``."""
    created_at = now_us()
    return [
        {
            "conversation_id": conversation_id,
            "position": position,
            "id": item.id,
            "type": item.type,
            "data": item.data,
            "masked": item.masked,
            "created_at": created_at,
        }
        for position, item in enumerate(batch, first_position)
    ]


@dataclass(frozen=True, slots=True)
class Append:
    """A batch that is to be appended."""

    scope: AccessScope
    conversation_id: str
    items: Sequence[ItemRecord]


def append_items(append: Append) -> Unit[None]:
    this = {"conversation_id": append.conversation_id, **scope_parameters(append.scope)}
    rows = yield Run(_TAKE_POSITIONS, {**this, "count": len(append.items)})
    if not rows:
        raise ConversationNotFound(append.conversation_id)
    if append.items:
        first_position = cast("int", rows[0][0]) - len(append.items)
        yield from insert_items(append.conversation_id, first_position, append.items)


def _append_together(appends: Sequence[Append]) -> Unit[Sequence[Served[None] | None]]:
    """Batches without ids of clients, which alone may be held already; served are those whose conversation is free."""
    ends: dict[tuple[AccessScope, str], int] = {}
    for scope in {append.scope for append in appends}:
        ids = {append.conversation_id for append in appends if append.scope == scope}
        [[found]] = yield Run(_SELECT_NEXT_POSITIONS, unlocked_parameters(scope, ids))
        ends |= {(scope, found_id): cast("int", end) for found_id, [end] in read_unlocked(found).items()}
    served = [(append.scope, append.conversation_id) in ends for append in appends]
    counts: Counter[str] = Counter()
    rows: list[dict[str, SqlValue]] = []
    for append in compress(appends, served):
        position = ends[append.scope, append.conversation_id] + counts[append.conversation_id]
        rows += item_rows(append.conversation_id, position, append.items)
        counts[append.conversation_id] += len(append.items)
    yield Run(_ADD_TO_POSITIONS, {"ids": json_parameter(list(counts)), "counts": json_parameter(dict(counts))})
    yield RunMany(INSERT_ITEM, rows)
    return [Served(None) if done else None for done in served]


APPENDS = JointWork(_append_together, append_items)
"""Batches without ids of clients."""
