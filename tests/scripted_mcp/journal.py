"""What the server was asked, what became of its tools' calls, and the gates that they wait at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Entry:
    """One HTTP request; ``rpc`` is the JSON-RPC method in it."""

    tag: str
    method: str
    rpc: str
    headers: dict[str, str]


@dataclass
class Gate:
    reached: bool = False
    opened: bool = False
    left: str | None = None
    """How the last call that waited here ended: ``passed`` or ``cancelled``."""


@dataclass
class Journal:
    """All three, with waiting for any of them to change."""

    entries: list[Entry] = field(default_factory=list)
    gates: dict[str, Gate] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def gate(self, name: str) -> Gate:
        return self.gates.setdefault(name, Gate())

    def note(self) -> None:
        """Wake whoever waits, after a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, holds: Callable[[], bool], seconds: float | None = None) -> bool:
        """Whether a condition came to hold in time."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def pass_gate(self, name: str) -> None:
        """Reach a gate and wait until it is opened."""
        gate = self.gate(name)
        gate.reached, gate.left = True, "cancelled"
        self.note()
        try:
            await self.wait(lambda: gate.opened)
            gate.left = "passed"
        finally:
            gate.reached = False
            self.note()

    def matching(self, tag: str, rpc: str | None) -> list[Entry]:
        return [entry for entry in self.entries if entry.tag == tag and rpc in (None, entry.rpc)]
