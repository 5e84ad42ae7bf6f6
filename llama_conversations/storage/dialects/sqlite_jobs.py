"""What waits for a thread of the SQLite database, and who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from llama_conversations.storage.unit_of_work import JointWork, Unit

A = TypeVar("A")
T = TypeVar("T")


@dataclass(eq=False)
class Job(Generic[T]):
    """Something to do, and the future of whoever waits for it; ``result`` and ``error`` are what came of it."""

    future: asyncio.Future[T]
    durable: bool = field(default=True, kw_only=True)
    result: T | None = field(default=None, init=False)
    error: BaseException | None = field(default=None, init=False)

    def answer(self) -> None:
        """Tell whoever waits what came of it."""
        if self.future.done():  # whoever waited was cancelled; the work is done all the same
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]


@dataclass(eq=False)
class UnitJob(Job[T]):
    """A unit of work."""

    unit: Unit[T]


@dataclass(eq=False)
class JointJob(Job[T], Generic[A, T]):
    """A share of some joint work."""

    work: JointWork[A, T]
    request: A


_Joint: TypeAlias = Mapping[JointWork[object, object], Sequence[JointJob[object, object]]]


def by_work(group: Iterable[Job[object]]) -> tuple[Sequence[UnitJob[object]], _Joint]:
    """The units of a group, and for each joint work those who ask for it."""
    units: list[UnitJob[object]] = []
    joint: dict[JointWork[object, object], list[JointJob[object, object]]] = {}
    for job in group:
        if isinstance(job, UnitJob):
            units.append(job)
        elif isinstance(job, JointJob):
            joint.setdefault(job.work, []).append(job)
    return units, joint
