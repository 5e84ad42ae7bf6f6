"""The kinds of databases that servers are run on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from durability.deployment import Database

_POSITIONS = """
SELECT c.id FROM conversations AS c LEFT JOIN conversation_items AS i ON i.conversation_id = c.id
GROUP BY c.id HAVING COALESCE(MAX(i.position), -1) >= c.next_position
"""
_LEASED = "SELECT id FROM conversations WHERE lease_holder IS NOT NULL"


@contextmanager
def sqlite_file(directory: Path) -> Iterator[SqliteFile]:
    """A file in a directory."""
    yield SqliteFile(directory)


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

    def faults(self) -> Sequence[str]:
        """A file that is damaged, rows that refer to nothing, positions beyond what was given out, leases of nobody."""
        with closing(sqlite3.connect(self._path)) as connection:
            damage = [str(line) for (line,) in connection.execute("PRAGMA integrity_check") if line != "ok"]
            strays = connection.execute("PRAGMA foreign_key_check").fetchall()
            beyond = connection.execute(_POSITIONS).fetchall()
            leased = connection.execute(_LEASED).fetchall()
        found = {"damaged": damage, "rows without parents": strays, "positions beyond": beyond, "leased": leased}
        return [f"{what}: {where}" for what, where in found.items() if where]


DATABASES: Mapping[str, Callable[[Path], AbstractContextManager[Database]]] = {"sqlite": sqlite_file}
"""By name: from a directory to a database that is there for a while."""
