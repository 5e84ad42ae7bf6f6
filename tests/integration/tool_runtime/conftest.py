"""MCP servers, and tool runtimes that talk to them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from ipaddress import ip_address

import httpx2
import pytest
from llama_conversations_providers.tool_runtime.mcp.addresses import IPAddress
from llama_conversations_providers.tool_runtime.mcp.config import McpConfig
from llama_conversations_providers.tool_runtime.mcp.provider import McpToolRuntime
from scripted_mcp import ScriptedMcp

from llama_conversations.apis.tools import ToolServer

Start = Callable[..., Awaitable[McpToolRuntime]]

LOOPBACK = {"policy": {"allow": ["127.0.0.1"]}}


class Names:
    """A resolver that knows some names; it keeps what it was asked. A list of lists is one answer after the other."""

    def __init__(self, **known: str | list[str]) -> None:
        self._known = {name.replace("_", "."): answer for name, answer in known.items()}
        self.asked: list[str] = []

    async def __call__(self, name: str) -> list[IPAddress]:
        self.asked.append(name)
        if name not in self._known:
            raise OSError(f"no such name: {name}")
        answer = self._known[name]
        if isinstance(answer, list):
            text = answer.pop(0) if len(answer) > 1 else answer[0]
        else:
            text = answer
        return [ip_address(part) for part in text.split()]


@pytest.fixture(scope="session")
def mcp_server() -> Iterator[ScriptedMcp]:
    """One scripted MCP server; tests keep apart by tags and gates."""
    with ScriptedMcp() as server:
        yield server


_names = itertools.count()


@pytest.fixture
def tag() -> str:
    """A name that no other test uses, for tags and gates."""
    return f"t{next(_names)}"


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts runtimes with the given settings; at the end nothing of them may be left running."""
    async with AsyncExitStack() as stack:

        async def start_runtime(resolve: Names | None = None, **settings: object) -> McpToolRuntime:
            config = McpConfig.model_validate(settings)
            tls = httpx2.create_ssl_context()
            runtime = McpToolRuntime(config, tls) if resolve is None else McpToolRuntime(config, tls, resolve)
            await runtime.initialize()
            stack.push_async_callback(runtime.shutdown)
            return runtime

        yield start_runtime
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [task for task in left if "llama_conversations" in repr(task) or "mcp" in repr(task)]


@pytest.fixture
async def runtime(start: Start) -> McpToolRuntime:
    """One that lets callers in to the scripted server."""
    return await start(**LOOPBACK)


def at(url: str, **more: object) -> ToolServer:
    """A server as a caller names it."""
    return ToolServer(label="weather", url=url, **more)
