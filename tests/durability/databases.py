"""The kinds of databases that servers are run on."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from durability.deployment import Database
from harness.postgres import Cluster

_FAULTS = {
    "positions beyond what was given out": """
SELECT c.id FROM conversations AS c LEFT JOIN conversation_items AS i ON i.conversation_id = c.id
GROUP BY c.id HAVING COALESCE(MAX(i.position), -1) >= c.next_position
""",
    "leases of nobody": "SELECT id FROM conversations WHERE lease_holder IS NOT NULL",
}


_DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
_DROP = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND client_port > 0"


class SqliteFile:
    """An embedded database; it is killed with its servers."""

    can_stop = False

    def __init__(self, directory: Path) -> None:
        self._path = directory / "state.db"
        self.backend: Mapping[str, object] = {"type": "sql_sqlite", "path": str(self._path)}

    def stop(self) -> None:
        """It is no process."""

    def start(self) -> None:
        """It is no process."""

    def drop_connections(self) -> None:
        """It has none."""

    def faults(self) -> Sequence[str]:
        """A file that is damaged, rows that refer to nothing, positions beyond what was given out, leases of nobody."""
        with closing(sqlite3.connect(self._path)) as connection:
            found = {what: connection.execute(sql).fetchall() for what, sql in _FAULTS.items()}
            damage = [line for line in connection.execute("PRAGMA integrity_check") if line != ("ok",)]
            strays = connection.execute("PRAGMA foreign_key_check").fetchall()
        return _told({**found, "damage": damage, "rows without parents": strays})


class PostgresServer:
    """A PostgreSQL server of its own, as durable as it is by default unless the settings say otherwise."""

    can_stop = True

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._name = cluster.empty_database()
        self.backend = cluster.backend(self._name)

    def stop(self) -> None:
        """An immediate stop: nothing is written any more, and the next start recovers."""
        self._cluster.stop(signal.SIGQUIT)

    def start(self) -> None:
        """Start and recover."""
        self._cluster.start()

    def drop_connections(self) -> None:
        """Each in the midst of whatever it does."""
        self._cluster.execute(_DROP)

    def faults(self) -> Sequence[str]:
        """Positions beyond what was given out, leases of nobody."""
        return _told({what: self._cluster.execute(sql, self._name) for what, sql in _FAULTS.items()})


def _told(found: Mapping[str, Sequence[object]]) -> Sequence[str]:
    return [f"{what}: {where}" for what, where in found.items() if where]


@contextmanager
def sqlite_file(directory: Path, _settings: Mapping[str, str]) -> Iterator[SqliteFile]:
    """A file in a directory."""
    yield SqliteFile(directory)


@contextmanager
def postgres_server(_directory: Path, settings: Mapping[str, str]) -> Iterator[PostgresServer]:
    """A server with settings beside the usual."""
    cluster = Cluster(**{**_DURABLE, **settings})
    try:
        yield PostgresServer(cluster.start())
    finally:
        cluster.close()


DATABASES: Mapping[str, Callable[[Path, Mapping[str, str]], AbstractContextManager[Database]]] = {
    "sqlite": sqlite_file,
    "postgres": postgres_server,
}
"""By name: from a directory and settings to a database that is there for a while."""
