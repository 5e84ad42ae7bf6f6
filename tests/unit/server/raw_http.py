"""Bytes sent to a server as they are, and its answers read."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

SECONDS = 20
REQUEST_ID = re.compile(r"^req_[0-9a-f]{32}$")
HOST = b"host: localhost\r\n"


@dataclass(frozen=True)
class RawAnswer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error, of which all that every error has is looked at."""
        assert self.headers["content-type"] == "application/json", self
        assert REQUEST_ID.match(self.headers["x-request-id"]), self
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


class RawConnection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> RawAnswer:
        async with asyncio.timeout(SECONDS):
            status_line, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self._reader.readexactly(int(headers["content-length"]))
            return RawAnswer(int(status_line.split()[1]), headers, body)

    async def rest(self) -> bytes:
        """What comes until the server sends no more."""
        async with asyncio.timeout(SECONDS):
            return await self._reader.read()

    async def gone(self) -> None:
        """Return when the connection is closed by the other side for writing, too."""
        async with asyncio.timeout(SECONDS):
            with suppress(ConnectionError):
                await self.send_until_refused(b"x")

    async def send_until_refused(self, data: bytes) -> None:
        """Errors: ``ConnectionError``; it does not return otherwise."""
        async with asyncio.timeout(SECONDS):
            while True:
                await self.send(data)
                await asyncio.sleep(0.01)

    async def ask(self, data: bytes) -> RawAnswer:
        await self.send(data)
        return await self.answer()


@asynccontextmanager
async def connected(port: int, address: str = "127.0.0.1") -> AsyncIterator[RawConnection]:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()
