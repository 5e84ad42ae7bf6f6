"""The end of a turn in SQL: items appended, the response final, the lease given back, all in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TypeAlias, cast

from sqlalchemy import bindparam, null, select, update

from llama_conversations.access import AccessScope
from llama_conversations.errors import TurnLost
from llama_conversations.storage.expressions import in_json_array, json_number, json_parameter
from llama_conversations.storage.records import HistoryMark, TurnCommit
from llama_conversations.storage.scopes import scope_parameters
from llama_conversations.storage.sql_appends import INSERT_ITEM, insert_items, item_rows
from llama_conversations.storage.sql_events import insert_events
from llama_conversations.storage.sql_leases import NO_LEASE, SELECT_CONVERSATION, THIS_CONVERSATION, THIS_RESPONSE
from llama_conversations.storage.tables import conversations, responses
from llama_conversations.storage.unit_of_work import JointWork, Run, RunMany, Served, SqlValue, Statement, Unit
from llama_conversations.storage.unlocked import read_unlocked, select_unlocked, unlocked_parameters

_NO_LEASE = {"lease_holder": null(), **NO_LEASE}
_ENDED = {"status": bindparam("status_"), "head": bindparam("head_"), "output": bindparam("output_"), **NO_LEASE}

END_LEASE = Statement(
    update(conversations)
    .where(*THIS_CONVERSATION, conversations.c.lease_holder == bindparam("holder"))
    .values(next_position=conversations.c.next_position + bindparam("count"), **_NO_LEASE)
    .returning(conversations.c.edition, conversations.c.next_position)
)
"""Give a conversation back; answers with its mark."""

_SELECT_RESPONSE = Statement(select(responses.c.id).where(*THIS_RESPONSE))
_FINISH = Statement(
    update(responses)
    .where(*THIS_RESPONSE, responses.c.lease_node == bindparam("node"))
    .values(_ENDED)
    .returning(responses.c.id)
)

_SELECT_HELD = Statement(
    select_unlocked(
        conversations,
        [conversations.c.lease_holder, conversations.c.edition, conversations.c.next_position],
        conversations.c.lease_holder.is_not(None),
    )
)
_SELECT_RUNNING = Statement(select_unlocked(responses, [responses.c.lease_node], responses.c.lease_node.is_not(None)))
_END_LEASES = Statement(
    update(conversations)
    .where(in_json_array(conversations.c.id, bindparam("ids")))
    .values(
        next_position=conversations.c.next_position + json_number(bindparam("counts"), conversations.c.id),
        **_NO_LEASE,
    )
)
_FINISH_RUNNING = Statement(update(responses).where(responses.c.id == bindparam("id_")).values(_ENDED))


_Held: TypeAlias = tuple[str, int, int]
"""What holds a conversation; its edition and its next position."""


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """A turn of this ``node`` that ends."""

    scope: AccessScope
    commit: TurnCommit
    node: str

    @property
    def is_plain(self) -> bool:
        """Whether nothing is to be stored that has to be looked at by itself."""
        return not self.commit.events and not any(item.client_id for item in self.commit.items)


def end_turn(end: TurnEnd) -> Unit[HistoryMark | None]:
    """End a turn; answers with how far its conversation reaches then, if there still is one. Errors: ``TurnLost``."""
    commit, mark = end.commit, None
    owner = scope_parameters(end.scope)
    if commit.conversation_id is not None:
        this = {"conversation_id": commit.conversation_id, **owner}
        rows = yield Run(END_LEASE, {**this, "holder": commit.response_id, "count": len(commit.items)})
        if rows:
            mark = HistoryMark(*cast("tuple[int, int]", rows[0]))
            if commit.items:
                yield from insert_items(commit.conversation_id, mark.position - len(commit.items), commit.items)
        elif (yield Run(SELECT_CONVERSATION, this)):
            raise TurnLost(commit.response_id)
    if commit.stored:
        response = {"id": commit.response_id, **owner}
        finished = yield Run(_FINISH, {**response, **_values(commit), "node": end.node})
        if not finished and (yield Run(_SELECT_RESPONSE, response)):
            raise TurnLost(commit.response_id)
        if finished and commit.events:
            yield from insert_events(commit.response_id, commit.events)
    return mark


def _end_together(ends: Sequence[TurnEnd]) -> Unit[Sequence[Served[HistoryMark | None] | None]]:
    """Those of plain turns whose conversation and response are theirs still, and free."""
    held: dict[str, _Held] = {}
    running: dict[str, Sequence[str | int]] = {}
    for scope in {end.scope for end in ends}:
        commits = [end.commit for end in ends if end.scope == scope]
        wanted = [commit.conversation_id for commit in commits if commit.conversation_id]
        [[found]] = yield Run(_SELECT_HELD, unlocked_parameters(scope, wanted))
        held.update(cast("Mapping[str, _Held]", read_unlocked(found)))
        wanted = [commit.response_id for commit in commits if commit.stored]
        [[found]] = yield Run(_SELECT_RUNNING, unlocked_parameters(scope, wanted))
        running.update(read_unlocked(found))
    mine = [
        _is_held(end.commit, held) and (not end.commit.stored or running.get(end.commit.response_id) == [end.node])
        for end in ends
    ]
    yield from _end_all([end.commit for end in compress(ends, mine)], held)
    return [Served(_mark(end.commit, held)) if is_mine else None for end, is_mine in zip(ends, mine, strict=True)]


def _end_all(commits: Sequence[TurnCommit], held: Mapping[str, _Held]) -> Unit[None]:
    items: list[dict[str, SqlValue]] = []
    counts: dict[str, int] = {}
    for commit in commits:
        if commit.conversation_id is not None:
            _, _, position = held[commit.conversation_id]
            items += item_rows(commit.conversation_id, position, commit.items)
            counts[commit.conversation_id] = len(commit.items)
    if counts:
        yield Run(_END_LEASES, {"ids": json_parameter(list(counts)), "counts": json_parameter(counts)})
    if items:
        yield RunMany(INSERT_ITEM, items)
    final = [{"id_": commit.response_id, **_values(commit)} for commit in commits if commit.stored]
    if final:
        yield RunMany(_FINISH_RUNNING, final)


def _values(commit: TurnCommit) -> dict[str, SqlValue]:
    return {"status_": commit.status, "head_": commit.head, "output_": commit.output}


def _is_held(commit: TurnCommit, held: Mapping[str, _Held]) -> bool:
    if commit.conversation_id is None:
        return True
    found = held.get(commit.conversation_id)
    return found is not None and found[0] == commit.response_id


def _mark(commit: TurnCommit, held: Mapping[str, _Held]) -> HistoryMark | None:
    if commit.conversation_id is None:
        return None
    _, edition, position = held[commit.conversation_id]
    return HistoryMark(edition, position + len(commit.items))


TURN_ENDS = JointWork(_end_together, end_turn)
"""The ends of plain turns."""
