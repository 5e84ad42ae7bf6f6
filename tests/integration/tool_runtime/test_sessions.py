"""What a session with an MCP server does when all goes well."""

from __future__ import annotations

import asyncio
import json

import pytest

from integration.tool_runtime.servers import LOOPBACK, Start, at
from llama_conversations.apis.tools import ToolResult
from llama_conversations_providers.tool_runtime.mcp.provider import McpToolRuntime
from scripted_mcp import GOOD_TENANT, GOOD_TOKEN, ScriptedMcp

KINDS = [
    {},
    {"answers": "json"},
    {"era": "legacy"},
    {"era": "legacy", "answers": "json"},
    {"era": "legacy", "sessions": "none"},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_tools_are_listed_and_called_whatever_kind_of_server_it_is(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, kind: dict[str, str]
) -> None:
    async with runtime.open_server(at(mcp_server.url(**kind))) as session:
        tools = {tool.name: tool for tool in await session.list_tools()}
        result = await session.call_tool("add", {"a": 1, "b": 2.5})
    assert tools["add"].description == "Adds."
    assert tools["add"].input_schema["required"] == ["a", "b"]
    assert tools["add"].annotations == {"title": "Sum", "readOnlyHint": True}
    assert tools["add"].read_only
    assert tools["echo"].annotations is None
    assert not tools["echo"].read_only
    assert result == ToolResult("3.5")


async def test_a_server_of_the_newest_protocol_is_asked_one_question_before_its_tools(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, tag: str
) -> None:
    async with runtime.open_server(at(mcp_server.url(tag=tag))) as session:
        await session.call_tool("echo", {"text": "hi"})
    requests = await mcp_server.requested(tag, count=2)
    assert [(request.method, request.rpc) for request in requests] == [
        ("POST", "server/discover"),
        ("POST", "tools/call"),
    ]


async def test_an_older_server_gets_the_handshake_and_is_told_that_the_session_is_over(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, tag: str
) -> None:
    async with runtime.open_server(at(mcp_server.url(era="legacy", tag=tag))) as session:
        await session.call_tool("echo", {"text": "hi"})
    requests = await mcp_server.requested(tag, count=5)
    assert [(request.method, request.rpc) for request in requests] == [
        ("POST", "server/discover"),
        ("POST", "initialize"),
        ("POST", "notifications/initialized"),
        ("POST", "tools/call"),
        ("DELETE", ""),
    ]


@pytest.mark.parametrize("fault", ["other-version", "wrong-result"])
async def test_a_server_that_knows_the_newest_question_and_not_the_answer_gets_the_handshake(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, tag: str, fault: str
) -> None:
    url = mcp_server.url(fault=fault, version="2025-11-25", on="server/discover", tag=tag)
    async with runtime.open_server(at(url)) as session:
        assert await session.call_tool("echo", {"text": "hi"}) == ToolResult("hi")
    assert await mcp_server.requested(tag, "initialize")


async def test_all_pages_of_the_tools_are_listed_in_order(runtime: McpToolRuntime, mcp_server: ScriptedMcp) -> None:
    async with runtime.open_server(at(mcp_server.url(listing="pages"))) as session:
        assert [tool.name for tool in await session.list_tools()] == [f"tool_{number:02}" for number in range(25)]


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        ("parts", "first\nsecond"),
        ("nothing", ""),
        ("picture", "[image: image/png, 12 bytes]"),
        ("sound", "listen:\n[audio: audio/wav, 12 bytes]"),
        ("document", "what it says"),
        ("archive", "[resource: file:///a.zip, unknown type, 12 bytes]"),
        ("link", "[resource: report, https://example.com/r.pdf, application/pdf]"),
        ("structured", '{"city":"Oslo","degrees":-3.5}'),
    ],
)
async def test_every_kind_of_content_becomes_text(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, tool: str, text: str
) -> None:
    async with runtime.open_server(at(mcp_server.url())) as session:
        assert await session.call_tool(tool, {}) == ToolResult(text)


async def test_that_a_tool_failed_is_a_result(runtime: McpToolRuntime, mcp_server: ScriptedMcp) -> None:
    async with runtime.open_server(at(mcp_server.url())) as session:
        assert await session.call_tool("fails", {}) == ToolResult("no such city", is_error=True)


async def test_a_result_that_breaks_the_tools_own_schema_is_passed_on(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp
) -> None:
    async with runtime.open_server(at(mcp_server.url())) as session:
        await session.list_tools()
        assert await session.call_tool("lies", {}) == ToolResult("four")


async def test_a_stream_that_ends_early_is_resumed(runtime: McpToolRuntime, mcp_server: ScriptedMcp, tag: str) -> None:
    async with runtime.open_server(at(mcp_server.url(era="legacy", tag=tag))) as session:
        assert await session.call_tool("resumed", {}) == ToolResult("after all")
    [get] = [request for request in await mcp_server.requested(tag) if request.method == "GET"]
    assert "last-event-id" in get.headers


async def test_arguments_go_into_headers_where_the_tool_wants_them_there(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, tag: str
) -> None:
    async with runtime.open_server(at(mcp_server.url(tag=tag))) as session:
        assert await session.call_tool("mirrored", {"text": "hi"}) == ToolResult("hi")
    first, second = await mcp_server.requested(tag, "tools/call", count=2)
    assert "mcp-param-text" not in first.headers
    assert second.headers["mcp-param-text"] == "hi"


async def test_the_token_and_the_headers_are_sent_with_every_request(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, tag: str
) -> None:
    server = at(mcp_server.url(era="legacy", tag=tag, require="bearer"), {"X-Tenant": GOOD_TENANT}, GOOD_TOKEN)
    async with runtime.open_server(server) as session:
        await session.call_tool("echo", {"text": "hi"})
    for request in await mcp_server.requested(tag, count=5):
        assert request.headers["authorization"] == f"Bearer {GOOD_TOKEN}"
        assert request.headers["x-tenant"] == GOOD_TENANT
        assert request.headers["user-agent"].startswith("llama-conversations/")
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["host"] == f"127.0.0.1:{mcp_server.port}"


async def test_the_token_takes_the_place_of_a_header_of_that_name(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp
) -> None:
    server = at(mcp_server.url(), {"Authorization": "Basic abc"}, f"Bearer {GOOD_TOKEN}")
    async with runtime.open_server(server) as session:
        headers = json.loads((await session.call_tool("headers", {})).text)
    assert headers["authorization"] == f"Bearer {GOOD_TOKEN}"


async def test_calls_in_one_session_run_at_once(runtime: McpToolRuntime, mcp_server: ScriptedMcp, tag: str) -> None:
    async with runtime.open_server(at(mcp_server.url())) as session:
        slow = asyncio.create_task(session.call_tool("slow", {"gate": tag}))
        await mcp_server.reached(tag)
        assert await session.call_tool("echo", {"text": "meanwhile"}) == ToolResult("meanwhile")
        mcp_server.open_gate(tag)
        assert await slow == ToolResult("done")


async def test_a_session_may_be_opened_used_and_closed_in_different_tasks(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp
) -> None:
    context = runtime.open_server(at(mcp_server.url(era="legacy")))
    session = await asyncio.create_task(context.__aenter__())
    assert await asyncio.create_task(session.call_tool("echo", {"text": "hi"})) == ToolResult("hi")
    assert not await asyncio.create_task(context.__aexit__(None, None, None))


async def test_an_error_inside_the_session_leaves_it_as_it_is(runtime: McpToolRuntime, mcp_server: ScriptedMcp) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with runtime.open_server(at(mcp_server.url(era="legacy"))):
            raise LookupError("mine")


async def test_sessions_with_several_servers_do_not_disturb_each_other(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp
) -> None:
    async with (
        runtime.open_server(at(mcp_server.url())) as first,
        runtime.open_server(at(mcp_server.url(era="legacy", answers="json"))) as second,
    ):
        results = await asyncio.gather(*(each.call_tool("echo", {"text": "hi"}) for each in (first, second) * 10))
    assert results == [ToolResult("hi")] * 20


async def test_an_operators_group_is_trusted_wherever_it_is(start: Start, mcp_server: ScriptedMcp, tag: str) -> None:
    runtime = await start(policy={"deny": ["*"], "public": False})
    arguments = {
        "server_url": mcp_server.url(host="localhost", require="header", tag=tag),
        "headers": {"X-Tenant": GOOD_TENANT},
        "authorization": GOOD_TOKEN,
    }
    async with runtime.open_group("in-house", arguments) as session:
        assert await session.call_tool("echo", {"text": "hi"}) == ToolResult("hi")
    assert (await mcp_server.requested(tag))[0].headers["authorization"] == f"Bearer {GOOD_TOKEN}"


async def test_health_tells_whether_sessions_can_be_opened(start: Start) -> None:
    runtime = await start(policy=LOOPBACK)
    assert (await runtime.health()).status == "ok"
    await runtime.shutdown()
    assert (await runtime.health()).status == "error"
