"""What is done to the processes while clients use them: drawn from a seed, as the clients' operations are."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from durability.deployment import LEASE_SECONDS, Deployment, Node

WEIGHTS = {
    "kill": 10,
    "terminate": 6,
    "terminate and kill": 2,
    "kill all": 1,
    "kill a worker": 10,
    "terminate a worker": 4,
    "freeze": 1,
    "stop the database": 3,
    "drop connections": 1,
}
PAUSE = (0.3, 1.5)
"""Shortest and longest time between two of them, in seconds."""

LONGEST_AWAY = 0.5
"""Seconds until what was ended is started again."""

OF_WORKERS = frozenset({"kill a worker", "terminate a worker"})
OF_DATABASES = frozenset({"stop the database", "drop connections"})

NO_KILLS = frozenset({"stood still", "connections dropped"})
"""What ends no process: a server that stands still for longer than a lease, a database that breaks its connections."""


class Disturber:
    """Kills and starts again, until it is told to stop.

    Attributes:
        counts: How often each thing was done.
    """

    def __init__(self, deployment: Deployment, seed: str) -> None:
        self.counts: Counter[str] = Counter()
        self._deployment = deployment
        self._chance = random.Random(f"{seed} disturbances")
        self._running: dict[asyncio.Task[None], Node] = {}
        self._do: dict[str, Callable[[Node, float], Coroutine[Any, Any, None]]] = {
            "kill": self._kill,
            "terminate": self._terminate,
            "terminate and kill": self._terminate_and_kill,
            "freeze": self._freeze,
            "kill a worker": self._kill_worker,
            "terminate a worker": self._terminate_worker,
        }

    @property
    def kills(self) -> int:
        """How many processes were ended."""
        return sum(count for what, count in self.counts.items() if what not in NO_KILLS)

    async def run(self, seconds: float, kills: int) -> None:
        """Disturb for so long, and until there were so many kills; then wait until everything is up again."""
        end = time.monotonic() + seconds
        weights = {name: weight for name, weight in WEIGHTS.items() if self._can(name)}
        while time.monotonic() < end or self.kills < kills:
            chance = self._chance
            pause, away = chance.uniform(*PAUSE), chance.uniform(0, LONGEST_AWAY)
            [name] = chance.choices([*weights], [*weights.values()])
            first = chance.randrange(len(self._deployment.nodes))
            await self._one_that_is_up(first)
            await asyncio.sleep(pause)
            await self._begin(name, first, away)
        if self._running:
            await asyncio.gather(*self._running)

    def _can(self, name: str) -> bool:
        if name in OF_DATABASES:
            return self._deployment.database.can_stop
        return self._deployment.workers > 1 or name not in OF_WORKERS

    async def _begin(self, name: str, first: int, away: float) -> None:
        if name in OF_DATABASES:
            await (self._stop_database(away) if name == "stop the database" else self._drop_connections())
            return
        for number in range(len(self._deployment.nodes) if name == "kill all" else 1):
            node = await self._one_that_is_up(first + number)
            self._start(node, self._do.get(name, self._kill)(node, away))

    def _start(self, node: Node, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running[task] = node
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            del self._running[task]

    async def _one_that_is_up(self, first: int) -> Node:
        nodes = self._deployment.nodes
        while True:
            for task in self._running:
                if task.done():
                    task.result()  # one that failed: a server that does not start
            for number in range(len(nodes)):
                node = nodes[(first + number) % len(nodes)]
                if node.up and node not in self._running.values():
                    return node
            await asyncio.sleep(0.02)

    async def _kill(self, node: Node, away: float) -> None:
        self.counts["SIGKILL"] += 1
        await node.kill()
        await asyncio.sleep(away)
        await node.start()

    async def _terminate(self, node: Node, away: float) -> None:
        self.counts["SIGTERM"] += 1
        await node.terminate()
        await asyncio.sleep(away)
        await node.start()

    async def _terminate_and_kill(self, node: Node, away: float) -> None:
        """Killed while it drains."""
        self.counts["SIGTERM, then SIGKILL"] += 1
        node.server.ask_to_stop()
        await asyncio.sleep(away)
        await node.kill()
        await node.start()

    async def _freeze(self, node: Node, away: float) -> None:
        self.counts["stood still"] += 1
        await node.freeze(LEASE_SECONDS + 1 + away)

    async def _kill_worker(self, node: Node, away: float) -> None:
        """Its supervisor starts another one."""
        self.counts["SIGKILL of a worker"] += node.signal_worker(signal.SIGKILL, int(away * 1000))

    async def _terminate_worker(self, node: Node, away: float) -> None:
        self.counts["SIGTERM of a worker"] += node.signal_worker(signal.SIGTERM, int(away * 1000))

    async def _drop_connections(self) -> None:
        self.counts["connections dropped"] += 1
        await asyncio.to_thread(self._deployment.database.drop_connections)

    async def _stop_database(self, away: float) -> None:
        self.counts["database stopped"] += 1
        database = self._deployment.database
        await asyncio.to_thread(database.stop)
        await asyncio.sleep(away)
        await asyncio.to_thread(database.start)
