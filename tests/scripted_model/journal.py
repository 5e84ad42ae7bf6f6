"""What the model server was asked, and the gates that its answers wait at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Literal


@dataclass
class Entry:
    """One request. ``outcome``: still ``running``; ``complete``; ``disconnected`` by the client before the end;
    ``dropped`` by the server."""

    path: str
    headers: dict[str, str]
    raw: str
    body: object = None
    model: str | None = None
    tag: str = ""
    status: int | None = None
    chunks: int = 0
    outcome: Literal["running", "complete", "disconnected", "dropped"] = "running"


@dataclass
class Gate:
    reached: bool = False
    opened: bool = False


@dataclass
class Journal:
    """Both, with waiting for either to change."""

    entries: list[Entry] = field(default_factory=list)
    gates: dict[str, Gate] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def gate(self, name: str) -> Gate:
        return self.gates.setdefault(name, Gate())

    async def note(self) -> None:
        """Wake whoever waits, after a change."""
        async with self.changed:
            self.changed.notify_all()

    async def wait(self, holds: Callable[[], bool], seconds: float | None = None) -> bool:
        """Whether a condition came to hold in time."""
        try:
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait_for(holds)
        except TimeoutError:
            return False
        return True

    async def pass_gate(self, name: str) -> None:
        """Reach a gate and wait until it is opened."""
        gate = self.gate(name)
        gate.reached = True
        await self.note()
        await self.wait(lambda: gate.opened)

    def matching(self, model: str | None, tag: str | None) -> list[Entry]:
        return [
            entry
            for entry in self.entries
            if (model is None or entry.model == model) and (tag is None or entry.tag == tag)
        ]

    @staticmethod
    def to_json(entry: Entry) -> dict[str, object]:
        return asdict(entry)
