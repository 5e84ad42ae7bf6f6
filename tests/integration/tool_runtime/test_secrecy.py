"""Credentials and addresses stay between us and the tool server."""

from __future__ import annotations

import logging

import httpx2
import pytest

from integration.tool_runtime.servers import at
from llama_conversations.errors import ToolFailed
from llama_conversations_providers.tool_runtime.mcp.provider import McpToolRuntime
from scripted_mcp import ScriptedMcp

TOKEN, TENANT, KEY = "secret-token-of-mine", "secret-tenant-of-mine", "secret-key-in-the-url"
FAULTS = ["", "status", "not-json", "wrong-event", "cut", "cut-stream", "redirect", "error-with-credentials"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("era", ["both", "legacy"])
async def test_nothing_of_a_session_is_logged(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, caplog: pytest.LogCaptureFixture, era: str, fault: str
) -> None:
    caplog.set_level(logging.DEBUG)
    faults = {"fault": fault, "on": "tools/call", "status": 307, "to": f"http://{KEY}.example/", "own_url": KEY}
    url = mcp_server.url(era=era, key=KEY, **(faults if fault else {}))
    told = ""
    async with runtime.open_server(at(url, {"X-Tenant": TENANT}, TOKEN)) as session:
        await session.list_tools()
        try:
            await session.call_tool("echo", {"text": "hi"})
        except ToolFailed as error:
            told = str(error)
    await runtime.shutdown()
    assert bool(told) is bool(fault)
    assert {record.name for record in caplog.records} <= {"asyncio"}
    assert not [secret for secret in (TOKEN, TENANT, KEY, str(mcp_server.port)) if secret in told + caplog.text]


async def test_others_who_use_the_same_packages_log_as_before(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with runtime.open_server(at(mcp_server.url())) as session:
        await session.call_tool("echo", {"text": "hi"})
        async with httpx2.AsyncClient() as client:
            await client.get(mcp_server.url(path="/control/requests", tag="none"))
    assert [record.name for record in caplog.records] == ["httpx2"]


async def test_what_a_server_repeats_of_its_credentials_is_struck_out(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp
) -> None:
    own_url = mcp_server.url(path="/mcp").removeprefix("http://").removesuffix("/mcp")
    url = mcp_server.url(fault="error-with-credentials", on="tools/call", own_url=own_url)
    async with runtime.open_server(at(url, authorization=TOKEN)) as session:
        with pytest.raises(ToolFailed) as caught:
            await session.call_tool("echo", {"text": "hi"})
    assert caught.value.message == "it answered with an error: bad token *** at ***"
    assert caught.value.code == -32001


async def test_an_operators_address_and_token_stay_out_of_errors(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp
) -> None:
    arguments = {"server_url": mcp_server.url(require="bearer", key=KEY), "authorization": TOKEN}
    with pytest.raises(ToolFailed) as caught:
        async with runtime.open_group("in-house", arguments):
            pass
    assert str(caught.value) == "Tool server 'in-house': it answered with status 401 (Unauthorized)"
