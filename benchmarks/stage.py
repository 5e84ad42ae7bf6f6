"""A server on a database, with a model server behind it, and clients before it: where cases run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.client import Client, connected
from benchmarks.databases import Database, Databases
from benchmarks.load import Load, Parties, Row, measured
from benchmarks.processes import Served, stack_server


@dataclass(frozen=True)
class Bench:
    """What a case works with: clients of the server and of the model alone, and whom they are clients of."""

    client: Client
    model: Client
    server: Served
    database: Database
    parties: Parties
    quick: bool

    def count(self, operations: int) -> int:
        """So many operations in a round, or a tenth where it has to be quick; there is one round then."""
        return max(10, operations // 10) if self.quick else operations

    async def run(self, load: Load) -> Row:
        """Measure a load on this server."""
        return await measured(self._fitting(load), self.parties)

    async def alone(self, load: Load) -> Row:
        """Measure a load on the model server."""
        return await measured(self._fitting(load), replace(self.parties, server=None, database=None))

    def _fitting(self, load: Load) -> Load:
        return replace(load, rounds=1) if self.quick else load


@dataclass(frozen=True)
class Stage:
    """What servers are started with."""

    directory: Path
    model: Served
    databases: Databases
    quick: bool

    @asynccontextmanager
    async def bench(self, database: Database, workers: int = 1) -> AsyncIterator[Bench]:
        """A server of so many processes."""
        async with (
            stack_server(self.directory, self.model.url, database.backend, workers=workers) as server,
            connected(f"{server.url}/v1") as client,
            connected(self.model.url) as alone,
        ):
            parties = Parties(server.processes, database, self.model.processes)
            yield Bench(client, alone, server, database, parties, self.quick)
