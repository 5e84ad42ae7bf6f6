"""Cancellation and shutdown: whoever waits is free at once, and the server learns of it."""

from __future__ import annotations

import asyncio

import pytest

from integration.tool_runtime.servers import LOOPBACK, Start, at
from llama_conversations.apis.tools import ToolResult
from llama_conversations.errors import ShuttingDown, ToolFailed
from llama_conversations_providers.tool_runtime.mcp.connection import FAREWELL_SECONDS
from llama_conversations_providers.tool_runtime.mcp.provider import McpToolRuntime
from scripted_mcp import ScriptedMcp

AT_ONCE = 0.5


@pytest.mark.parametrize("era", ["both", "legacy"])
async def test_a_cancelled_call_is_free_at_once_and_cancelled_on_the_server(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, tag: str, era: str
) -> None:
    async with runtime.open_server(at(mcp_server.url(era=era))) as session:
        call = asyncio.create_task(session.call_tool("slow", {"gate": tag}))
        await mcp_server.reached(tag)
        call.cancel()
        async with asyncio.timeout(AT_ONCE):
            with pytest.raises(asyncio.CancelledError):
                await call
        assert await mcp_server.left(tag) == "cancelled"
        assert await session.call_tool("echo", {"text": "hi"}) == ToolResult("hi")


@pytest.mark.parametrize("era", ["both", "legacy"])
async def test_a_cancelled_turn_leaves_its_session_at_once_and_ends_it_on_the_server(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, tag: str, era: str
) -> None:
    async def turn() -> None:
        async with runtime.open_server(at(mcp_server.url(era=era, tag=tag))) as session:
            await session.call_tool("slow", {"gate": tag})

    running = asyncio.create_task(turn())
    await mcp_server.reached(tag)
    running.cancel()
    async with asyncio.timeout(AT_ONCE):
        with pytest.raises(asyncio.CancelledError):
            await running
    assert await mcp_server.left(tag) == "cancelled"
    if era == "legacy":
        assert (await mcp_server.requested(tag, count=5))[-1].method == "DELETE"


@pytest.mark.parametrize("where", ["server/discover", "initialize"])
async def test_opening_can_be_cancelled(runtime: McpToolRuntime, mcp_server: ScriptedMcp, tag: str, where: str) -> None:
    context = runtime.open_server(at(mcp_server.url(era="legacy", tag=tag, fault="hang", on=where)))
    opening = asyncio.create_task(context.__aenter__())
    await mcp_server.requested(tag, where)
    opening.cancel()
    async with asyncio.timeout(AT_ONCE):
        with pytest.raises(asyncio.CancelledError):
            await opening


@pytest.mark.parametrize("silent_on", ["notifications/cancelled", "DELETE"])
async def test_a_server_that_hangs_on_farewells_holds_nobody_up(
    start: Start, mcp_server: ScriptedMcp, tag: str, silent_on: str
) -> None:
    runtime = await start(policy=LOOPBACK)

    async def turn() -> None:
        url = mcp_server.url(era="legacy", fault="hang", on=silent_on)
        async with runtime.open_server(at(url)) as session:
            await session.call_tool("slow", {"gate": tag})

    running = asyncio.create_task(turn())
    await mcp_server.reached(tag)
    running.cancel()
    async with asyncio.timeout(AT_ONCE):
        with pytest.raises(asyncio.CancelledError):
            await running
    async with asyncio.timeout(FAREWELL_SECONDS + AT_ONCE):
        await runtime.shutdown()


async def test_shutdown_closes_open_sessions_and_fails_the_calls_in_them(
    start: Start, mcp_server: ScriptedMcp, tag: str
) -> None:
    runtime = await start(policy=LOOPBACK)
    async with runtime.open_server(at(mcp_server.url(era="legacy", tag=tag))) as session:
        call = asyncio.create_task(session.call_tool("slow", {"gate": tag}))
        await mcp_server.reached(tag)
        await runtime.shutdown()
        with pytest.raises(ToolFailed, match="the connection to it was closed"):
            await call
        with pytest.raises(ToolFailed, match="the connection to it was closed"):
            await session.list_tools()
    assert await mcp_server.left(tag) == "cancelled"
    assert (await mcp_server.requested(tag))[-1].method == "DELETE"


async def test_after_shutdown_no_session_is_opened(runtime: McpToolRuntime, mcp_server: ScriptedMcp) -> None:
    await runtime.shutdown()
    with pytest.raises(ShuttingDown):
        async with runtime.open_server(at(mcp_server.url())):
            pass


async def test_a_session_that_was_left_is_of_no_use(runtime: McpToolRuntime, mcp_server: ScriptedMcp) -> None:
    async with runtime.open_server(at(mcp_server.url())) as session:
        pass
    with pytest.raises(ToolFailed, match="the connection to it was closed"):
        await session.call_tool("echo", {"text": "hi"})
