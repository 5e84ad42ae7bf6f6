"""What a supervisor and a worker tell each other, over a pair of connected sockets.

The supervisor begins with a ``Launch``. The worker answers with one line of JSON: ``{"lines": […]}`` once it serves,
or ``{"error": "…"}``. After that the supervisor may send ``MEND``. Either side knows by the end of the stream that the
other has ended, however it did.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from llama_conversations.config.loader import LoadedConfig

MEND = b"mend\n"
"""Another worker has died: end what it has left."""

CLOSING_SECONDS = 10.0
"""What a worker gets at the end beyond the time in which requests and turns may finish, before it is killed."""

_LENGTH_BYTES = 8


@dataclass(frozen=True)
class Launch:
    """What a worker needs to begin.

    Attributes:
        loaded: The configuration as the supervisor has read it, so that all workers have the same.
        listener: The file descriptor of the socket that all listen on.
        number: Which worker it is, from 1.
    """

    loaded: LoadedConfig
    listener: int
    number: int

    @property
    def seconds_to_end(self) -> float:
        """How long the worker may take to end once it is told to."""
        return self.loaded.config.server.shutdown_timeout_seconds + CLOSING_SECONDS


@dataclass(frozen=True)
class Serving:
    """The worker serves; ``lines`` are what ``stack run`` prints then."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Failed:
    """The worker could not begin; ``error`` is fit to be printed."""

    error: str


@dataclass(frozen=True)
class Channel:
    """One end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """The end of a pair that is this process's."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    async def send_launch(self, launch: Launch) -> None:
        """Errors: ``OSError`` when the worker has ended already."""
        data = pickle.dumps(launch)
        self.writer.write(len(data).to_bytes(_LENGTH_BYTES) + data)
        await self.writer.drain()

    async def launch(self) -> Launch:
        """What the supervisor sends first. Errors: ``asyncio.IncompleteReadError`` when it has ended."""
        length = int.from_bytes(await self.reader.readexactly(_LENGTH_BYTES))
        launch: Launch = pickle.loads(await self.reader.readexactly(length))  # noqa: S301  (from who started us)
        return launch

    def send(self, told: Serving | Failed) -> None:
        """Tell the supervisor."""
        document = {"lines": told.lines} if isinstance(told, Serving) else {"error": told.error}
        self.writer.write(orjson.dumps(document) + b"\n")

    async def told(self) -> Serving | Failed | None:
        """What the worker says; ``None`` when it has ended without a word."""
        try:
            line = await self.reader.readline()
        except (OSError, ValueError):
            return None
        if not line.endswith(b"\n"):
            return None
        document = orjson.loads(line)
        return Failed(document["error"]) if "error" in document else Serving(document["lines"])
