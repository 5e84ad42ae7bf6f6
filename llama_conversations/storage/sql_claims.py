"""The beginning of a turn in SQL: its conversation is leased to it, and its response is stored as in progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import ColumnElement, bindparam, insert, update

from llama_conversations.access import AccessScope
from llama_conversations.errors import ConversationLocked, ConversationNotFound
from llama_conversations.storage.expressions import (
    in_json_array,
    json_parameter,
    json_text,
    now_ms,
)
from llama_conversations.storage.records import HistoryMark, ResponseRecord, TurnClaim
from llama_conversations.storage.response_rows import RESPONSE_FIELDS, response_values
from llama_conversations.storage.scopes import scope_parameters
from llama_conversations.storage.sql_leases import IS_FREE, NEW_LEASE, SELECT_CONVERSATION, THIS_CONVERSATION
from llama_conversations.storage.tables import conversations, responses
from llama_conversations.storage.unit_of_work import JointWork, Run, RunMany, Served, SqlValue, Statement, Unit
from llama_conversations.storage.unlocked import read_unlocked, select_unlocked, unlocked_parameters

_MARK = (conversations.c.edition, conversations.c.next_position)

_LEASE = Statement(
    update(conversations)
    .where(*THIS_CONVERSATION, IS_FREE)
    .values(lease_holder=bindparam("holder"), **NEW_LEASE)
    .returning(*_MARK, conversations.c.lease_expires_at - now_ms())
)
_LEASE_ANEW = Statement(update(conversations).where(*THIS_CONVERSATION).values(NEW_LEASE))


def _insert(**lease: ColumnElement[str] | ColumnElement[int]) -> Statement:
    names = (*(column.name for column in RESPONSE_FIELDS), "tenant", "owner")
    return Statement(insert(responses).values({**{name: bindparam(name) for name in names}, **lease}))


_INSERT = _insert(**NEW_LEASE)
_INSERT_ROW = _insert(lease_node=bindparam("node"), lease_expires_at=bindparam("expires_at"))
_SELECT_FREE = Statement(select_unlocked(conversations, _MARK, IS_FREE).add_columns(NEW_LEASE["lease_expires_at"]))
_LEASE_ALL = Statement(
    update(conversations)
    .where(in_json_array(conversations.c.id, bindparam("ids")))
    .values(lease_holder=json_text(bindparam("holders"), conversations.c.id), **NEW_LEASE)
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A turn of this ``node`` that begins; its lease lasts ``lease_ms`` unless it is renewed."""

    scope: AccessScope
    turn: TurnClaim
    node: str
    lease_ms: int

    @property
    def lease(self) -> dict[str, SqlValue]:
        return {"node": self.node, "lease_ms": self.lease_ms}


def claim_turn(claim: Claim) -> Unit[HistoryMark | None]:
    """Begin a turn; answers with how far its conversation reaches, if it has one.

    Errors: ``ConversationNotFound``, ``ConversationLocked``.
    """
    turn, mark = claim.turn, None
    if turn.conversation_id is not None:
        this = {"conversation_id": turn.conversation_id, **scope_parameters(claim.scope)}
        rows = yield Run(_LEASE, {**this, **claim.lease, "holder": turn.response_id})
        if not rows:
            exists = yield Run(SELECT_CONVERSATION, this)
            raise (ConversationLocked if exists else ConversationNotFound)(turn.conversation_id)
        edition, position, left_ms = cast("tuple[int, int, int]", rows[0])
        if left_ms < claim.lease_ms // 2:  # it was written when the update began, which then waited for another's lock
            yield Run(_LEASE_ANEW, {**this, **claim.lease})
        mark = HistoryMark(edition, position)
    if turn.response is not None:
        yield Run(_INSERT, {**_row(claim, turn.response, mark), **claim.lease})
    return mark


def _claim_together(claims: Sequence[Claim]) -> Unit[Sequence[Served[HistoryMark | None] | None]]:
    """Those whose conversation is free; of several for one conversation, the first."""
    free, expires_at = yield from _free_ones(claims)
    served: list[Served[HistoryMark | None] | None] = []
    holders: dict[str, str] = {}
    rows: list[dict[str, SqlValue]] = []
    for claim in claims:
        turn, mark = claim.turn, None
        if turn.conversation_id is not None:
            mark = free.pop((claim.scope, turn.conversation_id), None)
            if mark is None:
                served.append(None)
                continue
            holders[turn.conversation_id] = turn.response_id
        if turn.response is not None:
            rows.append({**_row(claim, turn.response, mark), "node": claim.node, "expires_at": expires_at})
        served.append(Served(mark))
    if holders:
        yield Run(
            _LEASE_ALL, {"ids": json_parameter(list(holders)), "holders": json_parameter(holders), **claims[0].lease}
        )
    if rows:
        yield RunMany(_INSERT_ROW, rows)
    return served


def _free_ones(claims: Sequence[Claim]) -> Unit[tuple[dict[tuple[AccessScope, str], HistoryMark], SqlValue]]:
    """Who of the conversations that are to be claimed is free, and how far it reaches; when leases of now end."""
    free: dict[tuple[AccessScope, str], HistoryMark] = {}
    expires_at: SqlValue = None
    for scope in {claim.scope for claim in claims}:
        ids = {claim.turn.conversation_id for claim in claims if claim.scope == scope and claim.turn.conversation_id}
        wanted = {**unlocked_parameters(scope, ids), "lease_ms": claims[0].lease_ms}
        [[found, expires_at]] = yield Run(_SELECT_FREE, wanted)
        marks = cast("Mapping[str, tuple[int, int]]", read_unlocked(found))
        free |= {(scope, found_id): HistoryMark(*mark) for found_id, mark in marks.items()}
    return free, expires_at


def _row(claim: Claim, response: ResponseRecord, mark: HistoryMark | None) -> dict[str, SqlValue]:
    values = {**response_values(response), **scope_parameters(claim.scope)}
    return values if mark is None else {**values, "context_position": mark.position}


CLAIMS = JointWork(_claim_together, claim_turn)
"""Turns of one node that begin, each with a lease as long as the others'."""
