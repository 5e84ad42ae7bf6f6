"""The kinds of databases that servers are run on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from durability.deployment import Database

_FAULTS = {
    "positions beyond what was given out": """
SELECT c.id FROM conversations AS c LEFT JOIN conversation_items AS i ON i.conversation_id = c.id
GROUP BY c.id HAVING COALESCE(MAX(i.position), -1) >= c.next_position
""",
    "leases of nobody": "SELECT id FROM conversations WHERE lease_holder IS NOT NULL",
}


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


def _told(found: Mapping[str, Sequence[object]]) -> Sequence[str]:
    return [f"{what}: {where}" for what, where in found.items() if where]


@contextmanager
def sqlite_file(directory: Path, _settings: Mapping[str, str]) -> Iterator[SqliteFile]:
    """A file in a directory."""
    yield SqliteFile(directory)


DATABASES: Mapping[str, Callable[[Path, Mapping[str, str]], AbstractContextManager[Database]]] = {
    "sqlite": sqlite_file,
}
"""By name: from a directory and settings to a database that is there for a while."""
