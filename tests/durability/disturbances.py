"""What is done to the processes while clients use them: drawn from a seed, as the clients' operations are."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from durability.deployment import LEASE_SECONDS, Deployment, Node

WEIGHTS = {"kill": 10, "terminate": 6, "terminate and kill": 2, "kill all": 1, "freeze": 1, "stop the database": 3}
KILLS = ("SIGKILL", "SIGTERM", "SIGTERM, then SIGKILL", "database stopped")
"""What counts as a kill; a server that stands still for longer than a lease does not."""


class Disturber:
    """Kills and starts again, until it is told to stop.

    Attributes:
        counts: How often each thing was done.
    """

    def __init__(self, deployment: Deployment, seed: str, pause: tuple[float, float]) -> None:
        self.counts: Counter[str] = Counter()
        self._deployment, self._pause = deployment, pause
        self._chance = random.Random(f"{seed} disturbances")
        self._running: dict[asyncio.Task[None], Node] = {}
        self._do: dict[str, Callable[[Node, float], Coroutine[Any, Any, None]]] = {
            "kill": self._kill,
            "terminate": self._terminate,
            "terminate and kill": self._terminate_and_kill,
            "freeze": self._freeze,
        }

    @property
    def kills(self) -> int:
        """How many processes were ended."""
        return sum(self.counts[kind] for kind in KILLS)

    async def run(self, seconds: float, kills: int) -> None:
        """Disturb for so long, and until there were so many kills; then wait until everything is up again."""
        end = time.monotonic() + seconds
        weights = {name: weight for name, weight in WEIGHTS.items() if self._can(name)}
        while time.monotonic() < end or self.kills < kills:
            chance = self._chance
            pause, away = chance.uniform(*self._pause), chance.uniform(0, 0.5)
            [name] = chance.choices([*weights], [*weights.values()])
            first = chance.randrange(len(self._deployment.nodes))
            await self._one_that_is_up(first)
            await asyncio.sleep(pause)
            await self._begin(name, first, away)
        if self._running:
            await asyncio.gather(*self._running)

    def _can(self, name: str) -> bool:
        return self._deployment.database.can_stop or name != "stop the database"

    async def _begin(self, name: str, first: int, away: float) -> None:
        if name == "stop the database":
            await self._stop_database(away)
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

    async def _stop_database(self, away: float) -> None:
        self.counts["database stopped"] += 1
        database = self._deployment.database
        await asyncio.to_thread(database.stop)
        await asyncio.sleep(away)
        await asyncio.to_thread(database.start)
