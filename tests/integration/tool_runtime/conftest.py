"""MCP servers, and tool runtimes that talk to them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx2
import pytest

from integration.tool_runtime.servers import LOOPBACK, Names, Start
from llama_conversations_providers.tool_runtime.mcp.config import McpConfig
from llama_conversations_providers.tool_runtime.mcp.provider import McpToolRuntime
from scripted_mcp import ScriptedMcp


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
    """Starts runtimes with the given settings; when they are shut down, nothing of them may be left running."""
    before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:

        async def start_runtime(resolve: Names | None = None, **settings: object) -> McpToolRuntime:
            config, tls = McpConfig.model_validate(settings), httpx2.create_ssl_context()
            runtime = McpToolRuntime(config, tls) if resolve is None else McpToolRuntime(config, tls, resolve)
            await runtime.initialize()
            stack.push_async_callback(runtime.shutdown)
            return runtime

        yield start_runtime
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}


@pytest.fixture
async def runtime(start: Start) -> McpToolRuntime:
    """One that lets callers in to the scripted server."""
    return await start(policy=LOOPBACK)
