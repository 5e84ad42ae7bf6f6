"""A PostgreSQL server of the tests' own, started where it is needed, and databases in it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest

from benchmarks.postgres_programs import find_programs, unprivileged
from harness.waiting import pause
from llama_conversations.config.run_config import StorageConfig
from llama_conversations.storage.open import open_storage

T = TypeVar("T")

PASSWORD = "p@ss:w/rd?%41#"
"""Of the user whom servers log in as: what may stand in a password."""

START_SECONDS = 60

_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "autovacuum": "off",
}


class Cluster:
    """One PostgreSQL server in a folder of its own, its safety given up for speed.

    Args:
        settings: Of its configuration, beside the fast ones.
    """

    def __init__(self, **settings: str) -> None:
        self._programs, self._who = find_programs(), unprivileged()
        self._folder = Path(tempfile.mkdtemp(prefix="llama-conversations-postgres-"))
        if "user" in self._who:
            os.chown(self._folder, self._who["user"], self._who["group"])
        self._settings = {**_FAST, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", **settings}
        self._databases: dict[Path | str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run("initdb", "--no-sync", "-A", "scram-sha-256", "-U", "owner", f"--pwfile={secret}", "-E", "UTF8")

    @property
    def has_tls(self) -> bool:
        """Whether the programs are built with TLS: those that packages carry are not."""
        return self._run("postgres", "-C", "ssl_library").strip() != ""

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self._folder, check=False, **self._who)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def put(self, **files: bytes) -> None:
        """Write files of its own into the folder of its data, where its settings find them; ``_`` is ``.`` there."""
        for name, content in files.items():
            path = self._folder / "data" / name.replace("_", ".")
            path.write_bytes(content)
            path.chmod(0o600)
            if "user" in self._who:
                os.chown(path, self._who["user"], self._who["group"])

    def admit(self, *lines: str) -> None:
        """Who may connect, and how, as ``pg_hba.conf`` has it."""
        (self._folder / "data" / "pg_hba.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> Cluster:
        """Start it, and wait until it answers."""
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), "-p", str(self.port), *options]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, **self._who)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.execute("SELECT 1")
                return self
            except (OSError, asyncpg.CannotConnectNowError):
                waiting = self._process.poll() is None and time.monotonic() < deadline
                assert waiting, (self._folder / "log").read_text()
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: ``SIGINT`` ends its connections first, ``SIGQUIT`` leaves everything where it is."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_SECONDS)
            self._process = None

    def close(self) -> None:
        """Stop it, and remove everything."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def backend(self, database: str) -> Mapping[str, object]:
        """A database's settings, as they stand under ``storage.backends`` in a run.yaml."""
        return {
            "type": "sql_postgres",
            "host": "127.0.0.1",
            "port": self.port,
            "db": database,
            "user": "owner",
            "password": PASSWORD,
            "pool_size": 6,
        }

    def database(self, place: Path | str) -> str:
        """The database of a place, with the schema in it; made when it is asked for first."""
        if place not in self._databases:
            if not self._databases:
                self._make_template()
            self._databases[place] = self.empty_database("TEMPLATE upgraded")
        return self._databases[place]

    def empty_database(self, options: str = "") -> str:
        """A new database."""
        name = f"db{len(self._databases)}_{time.monotonic_ns()}"
        self.execute(f"CREATE DATABASE {name} {options}")
        return name

    def _make_template(self) -> None:
        self.execute("CREATE DATABASE upgraded")
        config = StorageConfig.model_validate({"backends": {"default": self.backend("upgraded")}})

        async def upgrade() -> None:
            async with open_storage(config, lease_seconds=30):
                pass

        in_its_own_loop(upgrade())

    def let_leases_run_out(self, database: str, pooled: bool, pid: int) -> None:
        """Let those of a process that was killed run out, as the time would, once nothing of it is running any more.

        Args:
            pooled: A pooler stands between; its connections keep the name of who used them last.
        """
        deadline = time.monotonic() + START_SECONDS
        work = f"application_name LIKE '%-{pid}-%'" + (" AND state <> 'idle'" if pooled else "")
        while self.execute(f"SELECT 1 FROM pg_stat_activity WHERE {work}"):
            assert time.monotonic() < deadline
            pause()
        for table in ("conversations", "responses", "idempotency_keys"):
            self.execute(f"UPDATE {table} SET lease_expires_at = 1 WHERE lease_node LIKE '%-{pid}-%'", database)

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement on a connection of its own; its rows."""
        return query(self.port, database, sql)


def leases_run_out(request: pytest.FixtureRequest, backend: Mapping[str, object]) -> Callable[[int], None] | None:
    """What is to be called with a killed process's pid: on PostgreSQL, only time tells that it has died."""
    if backend["type"] != "sql_postgres":
        return None
    cluster: Cluster = request.getfixturevalue("postgres")
    return partial(cluster.let_leases_run_out, str(backend["db"]), backend.get("transaction_pooling") is True)


def query(port: int, database: str, sql: str) -> list[tuple[object, ...]]:
    """What a connection of its own sees."""

    async def run() -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=port, user="owner", password=PASSWORD, database=database, ssl=False
        )
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    return in_its_own_loop(run())


def in_its_own_loop(work: Coroutine[None, None, T]) -> T:
    """Run it to its end, whether this thread has a loop that runs or not."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
