"""Starts a scripted MCP server and talks to its controls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from controlled_process import ControlledProcess


@dataclass(frozen=True)
class LoggedRequest:
    """A request that the server got; ``rpc`` is the JSON-RPC method in it, ``headers`` are in lower case."""

    tag: str
    method: str
    rpc: str
    headers: dict[str, str]


class ScriptedMcp(ControlledProcess):
    """An MCP server in a process of its own.

    Args:
        certificate: A PEM file with a certificate and its key, to serve HTTPS; the controls are out of reach then.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__("scripted_mcp", *(["--certificate", str(certificate)] if certificate else []))

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def url(self, host: str = "127.0.0.1", path: str = "/mcp", **options: object) -> str:
        """An address of the server, under any name that leads to it; ``options`` say how it behaves."""
        scheme = self.address.partition(":")[0]
        query = f"?{urlencode(options)}" if options else ""
        return f"{scheme}://{host}:{self.port}{path}{query}"

    def requests(self, tag: str, rpc: str | None = None, count: int = 0) -> list[LoggedRequest]:
        """The requests with a tag, oldest first. Waits up to 10 s until there are ``count``. Raises ``NotInTime``."""
        return [LoggedRequest(**entry) for entry in self.journal(tag=tag, rpc=rpc, count=count)]

    async def requested(self, tag: str, rpc: str | None = None, count: int = 1) -> list[LoggedRequest]:
        """``requests`` for asynchronous tests."""
        return await asyncio.to_thread(self.requests, tag, rpc, count)

    async def left(self, name: str) -> str:
        """Wait up to 10 s until a call has left the gate: ``passed`` or ``cancelled``. Raises ``NotInTime``."""
        found = await asyncio.to_thread(self.call, "GET", f"/control/gates/{quote(name)}/left")
        assert isinstance(found, dict)
        return str(found["left"])
