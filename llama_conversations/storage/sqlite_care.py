"""Care for a SQLite file, also while servers use it."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from llama_conversations.config.run_config import SqliteBackend
from llama_conversations.errors import StorageUnavailable
from llama_conversations.storage.care import BackupRefused, DatabaseStatus, Upgraded, Vacuumed
from llama_conversations.storage.migrations import HEAD_REVISION
from llama_conversations.storage.open import sqlite_revision, sqlite_settings, upgraded_sqlite

PATIENCE_SECONDS = 60.0
"""How long to wait for others who write; longer than a server, since nobody waits for an answer."""


class SqliteCare:
    """Implements ``care.DatabaseCare``."""

    def __init__(self, backend: SqliteBackend) -> None:
        self._settings = sqlite_settings(backend)
        self._path = backend.path

    def status(self) -> DatabaseStatus:
        """By a connection that only reads."""
        with self._opened() as connection:
            names = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

            def rows(table: str, sql: str) -> list[tuple[str, int]]:
                return connection.execute(sql).fetchall() if table in names else []

            def count(table: str) -> int:
                return sum(number for _, number in rows(table, f"SELECT '', count(*) FROM {table}"))  # noqa: S608

            [page_size], [free_pages] = (
                connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "freelist_count")
            )
            return DatabaseStatus(
                location=str(self._path),
                revision=sqlite_revision(connection),
                newest=HEAD_REVISION,
                size=self._size(),
                free=free_pages * page_size,
                conversations=count("conversations"),
                items=count("conversation_items"),
                responses=dict(rows("responses", "SELECT status, count(*) FROM responses GROUP BY status")),
                events=count("response_events"),
            )

    def upgrade(self) -> Upgraded:
        """As a server does; the file is made if it is not there."""
        before = asyncio.run(upgraded_sqlite(self._settings))
        return Upgraded(before, HEAD_REVISION)

    def vacuum(self) -> Vacuumed:
        """Write the file anew, and empty the log beside it; who writes meanwhile waits for that."""
        before = self._size()
        with self._opened(writable=True) as connection:
            connection.execute("VACUUM")
            [busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StorageUnavailable(f"The log of {self._path} could not be emptied: it is being read. Try again.")
        return Vacuumed(before, self._size())

    def backup(self, target: Path, *, overwrite: bool) -> int:
        """By SQLite's online backup (sqlite.org/backup.html), in one step: a snapshot, whoever writes meanwhile."""
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            with self._opened() as source:
                self._check_target(target, overwrite)
                _create(part, self._path.stat().st_mode & 0o777)
                _copy(source, part)
            os.replace(part, target)  # noqa: PTH105  (as the call of the system that it is)
            _synced(target.parent)
            return target.stat().st_size
        except OSError as error:
            raise BackupRefused(f"{target} cannot be written: {error.strerror or error}.") from error
        finally:
            part.unlink(missing_ok=True)

    def _check_target(self, target: Path, overwrite: bool) -> None:
        if target.exists() and target.samefile(self._path):
            raise BackupRefused(f"{target} is the database itself.")
        if target.exists() and not overwrite:
            raise BackupRefused(f"{target} is there already; --force overwrites it.")

    @contextmanager
    def _opened(self, *, writable: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection to the file, which must be there."""
        url = f"{self._path.absolute().as_uri()}?mode={'rw' if writable else 'ro'}"
        try:
            with closing(sqlite3.connect(url, uri=True, timeout=PATIENCE_SECONDS, isolation_level=None)) as connection:
                yield connection
        except sqlite3.Error as error:
            there = "" if self._path.exists() else " It is not there: 'stack db upgrade' makes it."
            raise StorageUnavailable(f"The database {self._path} cannot be used: {error}.{there}") from error

    def _size(self) -> int:
        files = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())


def _create(path: Path, mode: int) -> None:
    """Make an empty file that no more people may read than the database."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))


def _copy(source: sqlite3.Connection, path: Path) -> None:
    """Copy a database, look whether the copy is whole, and wait until it is on the disk."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, with no log beside it
            wrong = [str(row[0]) for row in copy.execute("PRAGMA integrity_check") if row[0] != "ok"]
            wrong += [f"a row of {row[0]} belongs to nothing" for row in copy.execute("PRAGMA foreign_key_check")]
    except sqlite3.Error as error:
        raise BackupRefused(f"The copy failed: {error}.") from error
    if wrong:
        raise BackupRefused(f"The copy is not whole: {'; '.join(wrong[:3])}.")
    _synced(path)


def _synced(path: Path) -> None:
    """Wait until a file, or a directory's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
