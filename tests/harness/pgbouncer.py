"""pgbouncer before a PostgreSQL server of the tests: few connections to the server behind many of ours."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.postgres_programs import unprivileged
from harness.postgres import PASSWORD, START_SECONDS, Cluster

SERVER_CONNECTIONS = 3
"""To one database, for all who come."""

_SETTINGS = """
[databases]
* = host=127.0.0.1 port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
default_pool_size = {connections}
max_client_conn = 500
"""


def program() -> str | None:
    """Where pgbouncer is, if it is installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def keeps_prepared_statements() -> bool:
    """Whether it carries prepared statements from one connection to another: since 1.21."""
    found = program()
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout if found else ""
    version = re.search(r"(\d+)\.(\d+)", told)
    return version is not None and (int(version[1]), int(version[2])) >= (1, 21)


class Pgbouncer:
    """One pgbouncer.

    Args:
        settings: Of its configuration, such as ``pool_mode``.
    """

    def __init__(self, cluster: Cluster, **settings: str) -> None:
        self._who = unprivileged()
        self._folder = Path(tempfile.mkdtemp(prefix="llama-conversations-pgbouncer-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        written = _SETTINGS.format(
            server_port=cluster.port, port=self.port, folder=self._folder, connections=SERVER_CONNECTIONS
        )
        lines = [f"{name} = {value}" for name, value in settings.items()]
        (self._folder / "settings").write_text(written + "\n".join(lines) + "\n")
        (self._folder / "users").write_text(f'"owner" "{PASSWORD}"\n')
        if "user" in self._who:
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, self._who["user"], self._who["group"])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Pgbouncer:
        """Start it, and wait until it takes connections."""
        found = program()
        assert found is not None
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [found, str(self._folder / "settings")], cwd=self._folder, stdout=log, stderr=log, **self._who
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                waiting = self._process.poll() is None and time.monotonic() < deadline
                assert waiting, (self._folder / "log").read_text()
                time.sleep(0.02)

    def close(self) -> None:
        """Stop it, and remove everything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    def before(self, backend: Mapping[str, object]) -> dict[str, object]:
        """A backend's settings, reached through this; as a run.yaml has to have them."""
        return {**backend, "port": self.port, "pool_size": 10, "transaction_pooling": True}
