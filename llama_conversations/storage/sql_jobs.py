"""Background responses in SQL: a queue that any process serves, and the events of those that are streamed.

A job holds its conversation from the moment it is queued: the conversation's lease names the response and has no end of
its own. It is given back when the response ends, whoever ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import cast

import orjson
from sqlalchemy import BigInteger, bindparam, delete, func, insert, literal, literal_column, select, update

from llama_conversations.access import AccessScope
from llama_conversations.errors import (
    ConversationLocked,
    ConversationNotFound,
    NotInBackground,
    QueueFull,
    ResponseNotFound,
)
from llama_conversations.storage.database import Database
from llama_conversations.storage.effects import telling_of, with_response
from llama_conversations.storage.expressions import in_json_array, turn_taken
from llama_conversations.storage.records import QUEUED_EVENTS, TERMINAL, EventRecord, Job, ResponseRecord
from llama_conversations.storage.response_rows import RESPONSE_FIELDS, read_response, response_values
from llama_conversations.storage.scopes import scope_parameters
from llama_conversations.storage.sql_events import insert_events
from llama_conversations.storage.sql_leases import (
    IS_FREE,
    NEW_LEASE,
    NO_LEASE,
    SELECT_CONVERSATION,
    THIS_CONVERSATION,
    THIS_RESPONSE,
    free_held,
    lock_held,
)
from llama_conversations.storage.tables import conversations, response_events, responses
from llama_conversations.storage.unit_of_work import Row, Run, SqlValue, Statement, Unit

EVENTS_AT_ONCE = 500

_TURN = 0x6C6C616D615F7175
"""The turn of those who queue: two that count at once would both find room for the last one."""

_JOB_FIELDS = (
    *RESPONSE_FIELDS,
    *(responses.c[name] for name in ("request", "streamed", "first_event", "tenant", "owner")),
)

_IS_QUEUED = responses.c.status == literal_column("'queued'")  # written out: a partial index has these words
_TAKE_TURN = Statement(select(turn_taken(literal(_TURN, BigInteger))))
_COUNT_QUEUED = Statement(select(func.count()).select_from(responses).where(_IS_QUEUED))
_HOLD_CONVERSATION = Statement(
    update(conversations)
    .where(*THIS_CONVERSATION, IS_FREE)
    .values(lease_holder=bindparam("holder"), **NO_LEASE)
    .returning(conversations.c.next_position)
)
_INSERT = Statement(
    insert(responses).values(
        {column.name: bindparam(column.name) for column in _JOB_FIELDS} | {"background": bindparam("background")}
    )
)
_TAKE = Statement(
    update(responses)
    .where(
        responses.c.id
        == select(responses.c.id)
        .where(_IS_QUEUED)
        .order_by(responses.c.created_at, responses.c.id)
        .limit(literal_column("1"))
        .with_for_update(skip_locked=True)
        .scalar_subquery(),
        _IS_QUEUED,
    )
    .values(status="in_progress", **NEW_LEASE)
    .returning(*_JOB_FIELDS)
)
_SET_HEAD = Statement(update(responses).where(responses.c.id == bindparam("id_")).values(head=bindparam("head_")))
_GIVE_BACK = Statement(
    update(responses)
    .where(responses.c.id == bindparam("id_"), responses.c.status == "in_progress", responses.c.background == 1)
    .values(status="queued", head=bindparam("head_"), output="[]", **NO_LEASE)
    .returning(responses.c.first_event)
)
_LAST_EVENT = Statement(
    select(func.max(response_events.c.sequence_number)).where(response_events.c.response_id == bindparam("id"))
)
_BEGIN_BEHIND = Statement(
    update(responses).where(responses.c.id == bindparam("id_")).values(first_event=bindparam("last") + 1)
)
_FORGET_EVENTS = Statement(
    delete(response_events).where(
        response_events.c.response_id == bindparam("id"), response_events.c.sequence_number >= bindparam("first")
    )
)
_SELECT = Statement(select(*_JOB_FIELDS, responses.c.background).where(*THIS_RESPONSE))
_CANCEL_WAITING = Statement(
    update(responses)
    .where(*THIS_RESPONSE, _IS_QUEUED)
    .values(status="cancelled", head=bindparam("head_"))
    .returning(*RESPONSE_FIELDS)
)
_ASK_TO_CANCEL = Statement(update(responses).where(*THIS_RESPONSE).values(cancel_requested=1))
_SELECT_WANTED = Statement(
    select(responses.c.id).where(in_json_array(responses.c.id, bindparam("ids")), responses.c.cancel_requested == 0)
)
_SELECT_EVENTS = Statement(
    select(response_events.c.sequence_number, response_events.c.frame)
    .where(response_events.c.response_id == bindparam("id"), response_events.c.sequence_number > bindparam("after"))
    .order_by(response_events.c.sequence_number)
    .limit(bindparam("limit"))
)


class SqlJobStore:
    """Implements ``stores.JobStore``.

    Args:
        lease_seconds: How long a job's lease lasts unless it is renewed.
    """

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._lease: dict[str, SqlValue] = {"node": database.node, "lease_ms": int(lease_seconds * 1000)}

    async def enqueue(self, job: Job, events: Sequence[EventRecord], limit: int) -> None:
        """Store a queued response."""
        response = job.response
        await self._database.write(with_response(_enqueue(job, events, limit), response.id, response.conversation_id))

    async def take(self, begun: Callable[[str], str]) -> Job | None:
        """Take up the job that has waited longest."""
        return await self._database.write(_take(self._lease, begun))

    async def give_back(self, response_id: str, head: str) -> None:
        """Queue a job again."""
        await self._database.write(_give_back(response_id, head))

    async def request_cancel(
        self, scope: AccessScope, response_id: str, cancelled: Callable[[str], str]
    ) -> ResponseRecord:
        """Ask that a response be cancelled."""
        return await self._database.write(_request_cancel(scope, response_id, cancelled))

    async def cancel_requests(self, response_ids: Collection[str]) -> Collection[str]:
        """Find those that are to be cancelled."""
        asked = frozenset(response_ids)  # as they are now: the caller's collection may grow before the rows are there
        return await self._database.read(_cancel_requests(asked))

    async def add_events(self, response_id: str, events: Sequence[EventRecord]) -> None:
        """Keep events."""
        await self._database.write(insert_events(response_id, events))

    async def events(self, scope: AccessScope, response_id: str, after: int) -> tuple[Job, Sequence[EventRecord]]:
        """Read a response with its events."""
        return await self._database.read(_events(scope, response_id, after))


def _job(row: Row) -> Job:
    fields = len(RESPONSE_FIELDS)
    request, streamed, first, tenant, owner = cast("tuple[str, int, int, str, str]", row[fields : fields + 5])
    return Job(AccessScope(tenant, owner), read_response(row[:fields]), request, bool(streamed), first)


def _enqueue(job: Job, events: Sequence[EventRecord], limit: int) -> Unit[None]:
    response, owner = job.response, scope_parameters(job.scope)
    yield Run(_TAKE_TURN, {})
    waiting = yield Run(_COUNT_QUEUED, {})
    if cast("int", waiting[0][0]) >= limit:
        raise QueueFull(limit)
    position = None
    if response.conversation_id is not None:
        this = {"conversation_id": response.conversation_id, **owner}
        held = yield Run(_HOLD_CONVERSATION, {**this, "holder": response.id})
        if not held:
            exists = yield Run(SELECT_CONVERSATION, this)
            raise (ConversationLocked if exists else ConversationNotFound)(response.conversation_id)
        position = held[0][0]
    job_fields: dict[str, SqlValue] = {
        "context_position": position,
        "request": job.request,
        "streamed": int(job.streamed),
        "background": 1,
        "first_event": job.first_event,
    }
    yield Run(_INSERT, {**response_values(response), **job_fields, **owner})
    if events:
        yield from insert_events(response.id, events)


def _take(lease: dict[str, SqlValue], begun: Callable[[str], str]) -> Unit[Job | None]:
    rows = yield Run(_TAKE, lease)
    if not rows:
        return None
    job = _job(rows[0])
    yield Run(_SET_HEAD, {"id_": job.response.id, "head_": begun(job.response.head)})
    return job


def _give_back(response_id: str, head: str) -> Unit[None]:
    """The next run's events get numbers above all that were shown, unless nothing was but that this one had begun."""
    given = yield Run(_GIVE_BACK, {"id_": response_id, "head_": head})
    if not given:
        return
    kept = yield Run(_LAST_EVENT, {"id": response_id})
    last = cast("int | None", kept[0][0])
    if last is not None and last > cast("int", given[0][0]):
        yield Run(_BEGIN_BEHIND, {"id_": response_id, "last": last})
    yield Run(_FORGET_EVENTS, {"id": response_id, "first": QUEUED_EVENTS})


def _request_cancel(scope: AccessScope, response_id: str, cancelled: Callable[[str], str]) -> Unit[ResponseRecord]:
    this: dict[str, SqlValue] = {"id": response_id, **scope_parameters(scope)}
    rows = yield Run(_SELECT, this)
    if not rows:
        raise ResponseNotFound(response_id)
    response = _job(rows[0]).response
    yield from telling_of(response.conversation_id)
    if not rows[0][-1]:
        raise NotInBackground(response_id, "it was not created with 'background': true")
    if response.status == "queued":
        yield from lock_held(response.conversation_id, response_id)
        ended = yield Run(_CANCEL_WAITING, {**this, "head_": cancelled(response.head)})
        if not ended:  # it was taken up meanwhile
            return (yield from _request_cancel(scope, response_id, cancelled))
        yield from free_held(response.conversation_id, response_id)
        return read_response(ended[0])
    if response.status == "in_progress":
        yield Run(_ASK_TO_CANCEL, this)
    elif response.status in TERMINAL - {"cancelled"}:
        raise NotInBackground(response_id, f"it is {response.status} already")
    return response


def _cancel_requests(response_ids: frozenset[str]) -> Unit[Collection[str]]:
    rows = yield Run(_SELECT_WANTED, {"ids": orjson.dumps(list(response_ids)).decode()})
    return response_ids - {cast("str", row[0]) for row in rows}


def _events(scope: AccessScope, response_id: str, after: int) -> Unit[tuple[Job, Sequence[EventRecord]]]:
    rows = yield Run(_SELECT, {"id": response_id, **scope_parameters(scope)})
    if not rows:
        raise ResponseNotFound(response_id)
    found = yield Run(_SELECT_EVENTS, {"id": response_id, "after": after, "limit": EVENTS_AT_ONCE})
    return _job(rows[0]), [EventRecord(*cast("tuple[int, str]", row)) for row in found]
