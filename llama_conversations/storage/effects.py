"""One effect for one idempotency key: what a request does, and what came of it, are one transaction.

The stores mark the key of the request that is being served in the transaction that has its effect. So after a crash a
key says what happened: nothing, that a turn began, or what came of the request. And a run that has lost its key to
another one (it was slow, its lease ran out) has no effect at all: its transaction is undone.

A request without a key costs a look at a context variable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Protocol, TypeVar, cast

from sqlalchemy import bindparam, null, update

from llama_conversations.errors import IdempotencyKeyLost, OutcomeUnknown
from llama_conversations.storage.records import KeyHold
from llama_conversations.storage.scopes import owned_by, scope_parameters
from llama_conversations.storage.tables import idempotency_keys as keys
from llama_conversations.storage.unit_of_work import Run, SqlValue, Statement, Unit


class Answer(Protocol):
    """What goes out: the bytes of a JSON text."""

    @property
    def body(self) -> bytes:
        """The text."""
        ...


T = TypeVar("T")
A = TypeVar("A", bound=Answer | None)

MAX_KEPT_CHARACTERS = 16 << 20
"""Answers that are longer are not kept."""

HELD = (keys.c.key == bindparam("key_"), *owned_by(keys), keys.c.lease_holder == bindparam("holder_"))
"""The key of ``hold_parameters``, as long as that holder holds it."""

_MARK_RESULT = Statement(
    update(keys)
    .where(*HELD)
    .values(
        status=200,
        headers="{}",
        body=bindparam("body_"),
        streamed=0,
        conversation_id=bindparam("conversation_id_"),
    )
    .returning(keys.c.key)
)
_MARK_RESPONSE = Statement(
    update(keys)
    .where(*HELD)
    .values(response_id=bindparam("response_id_"), conversation_id=bindparam("conversation_id_"))
    .returning(keys.c.key)
)
_MARK_CONVERSATION = Statement(update(keys).where(*HELD).values(conversation_id=bindparam("conversation_id_")))

_MARK_NO_RESPONSE = Statement(update(keys).where(*HELD).values(response_id=null()))

_hold: ContextVar[KeyHold | None] = ContextVar("idempotency_key", default=None)
_answer: ContextVar[Callable[[object], Answer | None] | None] = ContextVar("answer", default=None)


def is_keyed() -> bool:
    """Whether the request that is being served has a key: what it does is a transaction of its own then."""
    return _hold.get() is not None


def hold_parameters(hold: KeyHold) -> dict[str, SqlValue]:
    """The values that ``HELD`` compares with."""
    return {"key_": hold.key, "holder_": hold.holder, **scope_parameters(hold.scope)}


def enter_hold(hold: KeyHold) -> None:
    """Whatever this task does from now on, and the tasks that it starts, is the request of this key."""
    _hold.set(hold)


async def answered(work: Awaitable[T], answer: Callable[[T], A]) -> A:
    """Do the one thing that a request does, and answer it; with a key, both are one transaction.

    Args:
        work: A call of a store.
        answer: From what the call returns to the answer, or ``None`` if the call changed nothing; called in the
            transaction, too.

    Errors: ``OutcomeUnknown``, see ``unless_cut_off``.
    """
    if _hold.get() is None:
        return answer(await unless_cut_off(work))
    token = _answer.set(lambda result: answer(cast("T", result)))
    try:
        return answer(await work)
    finally:
        _answer.reset(token)


async def unless_cut_off(work: Awaitable[T]) -> T:
    """Do what a request does, for a caller who may be cancelled: the server is being ended.

    The database does the work all the same. Errors: ``OutcomeUnknown`` then, unless the request has a key, with which
    it may be repeated at any time.
    """
    try:
        return await work
    except asyncio.CancelledError:
        if _hold.get() is None:
            raise OutcomeUnknown("The server was stopped") from None
        raise


def with_answer(unit: Unit[T], conversation_id: str | None = None) -> Unit[T]:
    """A unit that is the effect of the request that is being served, whose answer ``answered`` makes.

    Here and below, ``conversation_id`` is the conversation whose content the answer tells: it is erased with it.
    """
    hold, answer = _hold.get(), _answer.get()
    return unit if hold is None or answer is None else _with_answer(unit, hold, answer, conversation_id)


def with_result(unit: Unit[T], result: Callable[[], str], conversation_id: str | None) -> Unit[T]:
    """A unit that is the effect of the request that is being served; ``result`` is the JSON that comes of it."""
    hold = _hold.get()
    return unit if hold is None else _with_result(unit, hold, result, conversation_id)


def with_response(unit: Unit[T], response_id: str | None, conversation_id: str | None) -> Unit[T]:
    """A unit by which the request that is being served begins a turn; ``response_id`` if its response is stored."""
    hold = _hold.get()
    if hold is None or (response_id is None and conversation_id is None):
        return unit
    return _with_response(unit, hold, response_id, conversation_id)


def telling_of(conversation_id: str | None) -> Unit[None]:
    """Part of a unit of work: the answer to the request that is being served tells what is in a conversation."""
    hold = _hold.get()
    if hold is not None and conversation_id is not None:
        yield Run(_MARK_CONVERSATION, {**hold_parameters(hold), "conversation_id_": conversation_id})


def without_response(unit: Unit[T]) -> Unit[T]:
    """A unit that undoes what ``with_response`` began."""
    hold = _hold.get()
    return unit if hold is None else _without_response(unit, hold)


def _with_answer(
    unit: Unit[T], hold: KeyHold, answer: Callable[[object], Answer | None], conversation_id: str | None
) -> Unit[T]:
    result = yield from unit
    made = answer(result)
    if made is not None:
        yield from _mark(hold, made.body.decode(), conversation_id)
    return result


def _with_result(unit: Unit[T], hold: KeyHold, result: Callable[[], str], conversation_id: str | None) -> Unit[T]:
    returned = yield from unit
    yield from _mark(hold, result(), conversation_id)
    return returned


def _mark(hold: KeyHold, body: str, conversation_id: str | None) -> Unit[None]:
    kept = body if len(body) <= MAX_KEPT_CHARACTERS else None
    values: dict[str, SqlValue] = {"body_": kept, "conversation_id_": conversation_id}
    if not (yield Run(_MARK_RESULT, {**hold_parameters(hold), **values})):
        raise IdempotencyKeyLost(hold.key)


def _with_response(unit: Unit[T], hold: KeyHold, response_id: str | None, conversation_id: str | None) -> Unit[T]:
    result = yield from unit
    values: dict[str, SqlValue] = {"response_id_": response_id, "conversation_id_": conversation_id}
    if not (yield Run(_MARK_RESPONSE, {**hold_parameters(hold), **values})):
        raise IdempotencyKeyLost(hold.key)
    return result


def _without_response(unit: Unit[T], hold: KeyHold) -> Unit[T]:
    result = yield from unit
    yield Run(_MARK_NO_RESPONSE, hold_parameters(hold))
    return result
