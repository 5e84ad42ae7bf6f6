"""A unit of work: a generator that yields statements and is sent their rows.

It says *what* is done in one transaction and nothing about *how* statements reach a database::

    def get(conversation_id: str) -> Unit[ConversationRecord]:
        rows = yield Run(SELECT_CONVERSATION, {"id": conversation_id})
        if not rows:
            raise ConversationNotFound(conversation_id)
        return ConversationRecord(*rows[0])

SQLite drives it to its end inside one hop to a worker thread; PostgreSQL awaits each statement. Either way it is one
transaction: an exception that leaves the generator undoes all of it. A unit holds no connection.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from sqlalchemy import ClauseElement

A = TypeVar("A")
T = TypeVar("T")

SqlValue: TypeAlias = str | int | float | bytes | None
Row: TypeAlias = Sequence[SqlValue]
Parameters: TypeAlias = Mapping[str, SqlValue]


class Statement:
    """A statement in SQLAlchemy Core, compiled once per dialect. Make them at import, not per request."""

    __slots__ = ("clause",)

    def __init__(self, clause: ClauseElement) -> None:
        self.clause = clause


@dataclass(frozen=True, slots=True)
class Run:
    """Run a statement and be sent its rows (an empty list if it returns none)."""

    statement: Statement
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class RunMany:
    """Run a statement once per set of parameters; it returns no rows."""

    statement: Statement
    parameters: Sequence[Parameters]


Step: TypeAlias = Run | RunMany
Unit: TypeAlias = Generator[Step, Sequence[Row], T]


@dataclass(frozen=True, slots=True)
class Served(Generic[T]):
    """What came of a request for joint work."""

    result: T


@dataclass(frozen=True, eq=False)
class JointWork(Generic[A, T]):
    """What many callers may ask for at once, so that a few statements do it for all of them.

    A statement that serves sixty callers costs little more than one that serves one of them: it is a round trip, or on
    SQLite several times that a thread gives the interpreter away and waits until it gets it back.

    Attributes:
        together: From what each caller asks for to what came of it, in their order; ``None`` for each who was not
            served. It waits for nobody's lock.
        alone: What is done for each who was not served.
    """

    together: Callable[[Sequence[A]], Unit[Sequence[Served[T] | None]]]
    alone: Callable[[A], Unit[T]]
