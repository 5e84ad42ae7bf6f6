"""What an operator does with a database, beside or without a running server: each kind in its own way."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llama_conversations.config.run_config import Backend, SqliteBackend
from llama_conversations.errors import StorageError


class DoesNotApply(StorageError):
    """A kind of database is cared for by tools of its own.

    Args:
        command: What was asked for, such as ``backup``.
        kind: The database's kind, such as ``PostgreSQL``.
        instead: What does it, as a sentence.
    """

    def __init__(self, command: str, kind: str, instead: str) -> None:
        super().__init__(f"'stack db {command}' does not apply to {kind}. {instead}")


class BackupRefused(StorageError):
    """A backup was not made, and nothing was overwritten."""


@dataclass(frozen=True)
class DatabaseStatus:
    """How a database is.

    Attributes:
        revision: Of its schema; ``None`` where there is none yet. ``newest`` is the newest that this version knows.
        size: Bytes that it takes.
        free: Of these, bytes that are not used, where the kind tells.
        responses: How many, by status.
    """

    location: str
    revision: str | None
    newest: str
    size: int
    free: int | None
    conversations: int
    items: int
    responses: Mapping[str, int]
    events: int


@dataclass(frozen=True)
class Upgraded:
    """The schema's revisions before and after."""

    before: str | None
    after: str


@dataclass(frozen=True)
class Vacuumed:
    """The database's bytes before and after."""

    before: int
    after: int


class DatabaseCare(Protocol):
    """Errors of all: ``StorageUnavailable`` when the database cannot be opened, ``DoesNotApply``."""

    @abstractmethod
    def status(self) -> DatabaseStatus:
        """Look, and change nothing."""
        ...

    @abstractmethod
    def upgrade(self) -> Upgraded:
        """Bring the schema to the newest revision, as a server does when it starts. Errors: ``DatabaseTooNew``."""
        ...

    @abstractmethod
    def vacuum(self) -> Vacuumed:
        """Give back the space, and wipe out the content, of what was deleted."""
        ...

    @abstractmethod
    def backup(self, target: Path, *, overwrite: bool) -> int:
        """Copy everything that is committed to a file, while others write; its bytes. Errors: ``BackupRefused``."""
        ...


def care_for(backend: Backend) -> DatabaseCare:
    """How a database of run.yaml is cared for. Errors: ``StorageUnavailable`` where its driver is not installed."""
    # Each only for who asks; the driver of PostgreSQL is an optional package.
    if isinstance(backend, SqliteBackend):
        from llama_conversations.storage.sqlite_care import SqliteCare

        return SqliteCare(backend)
    from llama_conversations.storage.postgresql_care import PostgresqlCare

    return PostgresqlCare(backend)
