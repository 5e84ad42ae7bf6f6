"""A database that runs units of work."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from typing import Protocol, TypeVar

from llama_conversations.storage.news import News
from llama_conversations.storage.unit_of_work import JointWork, Unit

A = TypeVar("A")
T = TypeVar("T")


class Database(Protocol):
    """Runs units of work, each in a transaction of its own.

    Errors of both: what the unit raises (and nothing of it happened); ``errors.StorageUnavailable`` when the database
    fails; ``errors.OutcomeUnknown`` when it failed during the commit, so that the unit happened or not. A caller that
    is cancelled while it waits does not undo its unit.
    """

    @abstractmethod
    async def read(self, unit: Unit[T]) -> T:
        """Run a unit that only reads; it sees everything that was acknowledged before."""
        ...

    @abstractmethod
    async def write(self, unit: Unit[T], *, durable: bool = True) -> T:
        """Run a unit that writes; when this returns, what it wrote is durable.

        What need not be ``durable`` is seen by everybody at once and survives the death of every process; a loss of the
        machine's power may undo it, until something durable is written behind it. It is for what nobody is told of.
        """
        ...

    @abstractmethod
    async def write_jointly(self, work: JointWork[A, T], request: A, *, durable: bool = True) -> T:
        """Do what is asked for, in a transaction that may also do what others ask for meanwhile; as ``write``."""
        ...

    @property
    @abstractmethod
    def news(self) -> News:
        """What is announced among all who share this database, as far as it passes news on."""
        ...

    @property
    @abstractmethod
    def node(self) -> str:
        """The name under which this process holds leases."""
        ...

    @abstractmethod
    def dead_nodes(self, nodes: Collection[str]) -> Collection[str]:
        """Those of these nodes that are known to have died; others are judged by their leases alone."""
        ...
