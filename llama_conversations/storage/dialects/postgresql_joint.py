"""Joint work on PostgreSQL: what is asked for while one transaction of its kind runs is done by the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from llama_conversations.errors import OutcomeUnknown
from llama_conversations.log import get_logger
from llama_conversations.storage.unit_of_work import JointWork, Served, Unit

A = TypeVar("A")
T = TypeVar("T")

logger = get_logger(__name__)

MOST_SHARES = 64
"""Requests that share a transaction at the most."""

RUNS = 2
"""Transactions of one joint work at a time: while one waits for the disk, another works. Who comes then waits."""

PATIENCE_SECONDS = 0.1
"""How long those who wait do so for one request by itself, which may be waiting for a lock."""


class Write(Protocol):
    """Runs a unit in a transaction of its own; what it wrote is durable when this returns."""

    def __call__(self, unit: Unit[T]) -> Coroutine[None, None, T]:
        """Run it."""
        ...


@dataclass(frozen=True, eq=False)
class _Share(Generic[A, T]):
    """What somebody asks for, and the future that he waits for."""

    request: A
    future: asyncio.Future[T]

    def tell(self, result: T) -> None:
        if not self.future.done():  # else whoever waited was cancelled
            self.future.set_result(result)

    def refuse(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class JointWrites(Generic[A, T]):
    """One joint work of a database.

    Args:
        write: The database's.
    """

    def __init__(self, work: JointWork[A, T], write: Write) -> None:
        self._work, self._write = work, write
        self._waiting: list[_Share[A, T]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._runs = 0

    async def ask(self, request: A) -> T:
        """Do what is asked for. Errors: those of the work."""
        share: _Share[A, T] = _Share(request, asyncio.get_running_loop().create_future())
        self._waiting.append(share)
        if self._runs < RUNS:
            self._runs += 1
            self._start(self._run())
        return await share.future

    async def finish(self) -> None:
        """Wait until all that was asked for is done; nobody may ask any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self) -> None:
        while self._waiting:
            shares, self._waiting = self._waiting[:MOST_SHARES], self._waiting[MOST_SHARES:]
            if len(shares) == 1:
                await asyncio.wait((self._start(self._alone(shares[0])),), timeout=PATIENCE_SECONDS)
            else:
                await self._together(shares)
        self._runs -= 1

    async def _together(self, shares: Sequence[_Share[A, T]]) -> None:
        served: Sequence[Served[T] | None] = [None] * len(shares)
        try:
            served = await self._write(self._work.together([share.request for share in shares]))
        except OutcomeUnknown as error:
            for share in shares:
                share.refuse(error)
            return
        except Exception as error:  # noqa: BLE001  (then each of them tells who it is about)
            logger.debug("what %d asked for is done for each by itself: %s", len(shares), error)
        for share, done in zip(shares, served, strict=True):
            if done is None:  # it may have to wait for a lock, and nobody else shall wait for it
                self._start(self._alone(share))
            else:
                share.tell(done.result)

    async def _alone(self, share: _Share[A, T]) -> None:
        try:
            result = await self._write(self._work.alone(share.request))
        except Exception as error:  # noqa: BLE001  (told to whoever waits)
            share.refuse(error)
        else:
            share.tell(result)
