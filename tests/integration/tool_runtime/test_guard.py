"""A caller's address leads nowhere that run.yaml does not let it: by no name, number, redirect or change of mind."""

from __future__ import annotations

import asyncio

import pytest

from integration.tool_runtime.servers import LOOPBACK, Names, Start, at
from llama_conversations.apis.tools import ToolResult
from llama_conversations.errors import ToolFailed, ToolServerForbidden
from llama_conversations_providers.tool_runtime.mcp.addresses import IPAddress
from llama_conversations_providers.tool_runtime.mcp.provider import McpToolRuntime
from scripted_mcp import GOOD_TOKEN, ScriptedMcp

NOT_PUBLIC = "it does not lead to the public internet, and run.yaml does not list it"
HI = ToolResult("hi")


async def denied(runtime: McpToolRuntime, url: str) -> str:
    """Why an address is denied, before a turn begins and when it is connected to."""
    with pytest.raises(ToolServerForbidden) as caught:
        await runtime.check_server(at(url, authorization=GOOD_TOKEN))
    assert caught.value.label == "weather"
    assert caught.value.reason == await denied_at_last(runtime, url)
    return caught.value.reason


async def denied_at_last(runtime: McpToolRuntime, url: str) -> str:
    """Why an address is denied when it is connected to."""
    with pytest.raises(ToolServerForbidden) as caught:
        async with runtime.open_server(at(url, authorization=GOOD_TOKEN)):
            pass
    assert caught.value.label == "weather"
    return caught.value.reason


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "127%2e0.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[64:ff9b::127.0.0.1]",
    ],
)
async def test_the_server_itself_is_out_of_reach_however_it_is_written(
    start: Start, mcp_server: ScriptedMcp, tag: str, host: str
) -> None:
    runtime = await start()  # with the system's resolver
    reason = await denied(runtime, mcp_server.url(host=host, tag=tag))
    assert reason in (NOT_PUBLIC, "its host is neither a name nor an address", "it is no valid URL")
    assert mcp_server.requests(tag) == []


@pytest.mark.parametrize(
    "host", ["10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "[fd00:ec2::254]", "[fe80::1]"]
)
async def test_private_and_metadata_addresses_are_out_of_reach(start: Start, host: str) -> None:
    assert await denied(await start(), f"http://{host}/mcp") == NOT_PUBLIC


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "::ffff:10.0.0.7", "10.0.0.7 fd00::7", "224.0.0.1"]
)
async def test_a_name_that_leads_inside_is_denied(start: Start, address: str) -> None:
    names = Names({"innocent.example": [address]})
    assert await denied(await start(names), "https://innocent.example/mcp") == NOT_PUBLIC
    assert names.asked == ["innocent.example"] * 2


async def test_before_a_turn_only_policy_is_asked_and_not_whether_a_server_can_be_reached(
    start: Start, mcp_server: ScriptedMcp, tag: str
) -> None:
    runtime = await start(Names({"tools.example": ["127.0.0.1"]}), policy=LOOPBACK)
    await runtime.check_server(at(mcp_server.url(host="tools.example", tag=tag), headers={"host": "not sent"}))
    await runtime.check_server(at("https://no-such-name.example/mcp"))
    assert mcp_server.requests(tag) == []

    async def never(_: str) -> list[IPAddress]:
        await asyncio.Event().wait()
        return []

    hanging = await start(never, timeouts={"connect_seconds": 0.01})
    await hanging.check_server(at("https://slow-name.example/mcp"))


async def test_of_a_names_addresses_only_those_that_are_allowed_are_connected_to(
    start: Start, mcp_server: ScriptedMcp
) -> None:
    runtime = await start(Names({"mixed.example": ["10.0.0.7 127.0.0.1 169.254.169.254"]}), policy=LOOPBACK)
    async with runtime.open_server(at(mcp_server.url(host="mixed.example"))) as session:
        assert await session.call_tool("echo", {"text": "hi"}) == HI


async def test_an_address_that_nobody_answers_at_is_passed_over(start: Start, mcp_server: ScriptedMcp) -> None:
    names = Names({"two.example": ["127.0.0.2 127.0.0.1"]})
    runtime = await start(names, policy={"allow": ["127.0.0.0/8"]})
    async with runtime.open_server(at(mcp_server.url(host="two.example"))) as session:
        assert await session.call_tool("echo", {"text": "hi"}) == HI


async def test_what_is_checked_is_what_is_connected_to(start: Start, mcp_server: ScriptedMcp, tag: str) -> None:
    names = Names({"rebinding.example": ["127.0.0.1", "10.0.0.7"]})
    runtime = await start(names, policy=LOOPBACK)
    async with runtime.open_server(at(mcp_server.url(host="rebinding.example"))) as session:
        slow = asyncio.create_task(session.call_tool("slow", {"gate": tag}))
        await mcp_server.reached(tag)
        with pytest.raises(
            ToolFailed, match=f"its address is not allowed: {NOT_PUBLIC}"
        ):  # this one needs a second connection
            await session.call_tool("echo", {"text": "hi"})
        mcp_server.open_gate(tag)
        assert await slow == ToolResult("done")
    assert names.asked == ["rebinding.example"] * 2  # once for each connection, and never beside it


async def test_the_server_hears_its_name_and_not_the_address(start: Start, mcp_server: ScriptedMcp, tag: str) -> None:
    runtime = await start(Names({"tools.example": ["127.0.0.1"]}), policy=LOOPBACK)
    async with runtime.open_server(at(mcp_server.url(host="Tools.Example", tag=tag))):
        pass
    assert (await mcp_server.requested(tag))[0].headers["host"] == f"tools.example:{mcp_server.port}"


@pytest.mark.parametrize("rule", ["tools.example", "*.example", "*", "http://tools.example:{port}/mcp", "127.0.0.0/8"])
async def test_what_run_yaml_lists_is_let_in(start: Start, mcp_server: ScriptedMcp, rule: str) -> None:
    allow = [rule.format(port=mcp_server.port)]
    runtime = await start(Names({"tools.example": ["127.0.0.1"]}), policy={"allow": allow, "public": False})
    async with runtime.open_server(at(mcp_server.url(host="tools.example"))) as session:
        assert await session.call_tool("echo", {"text": "hi"}) == HI


@pytest.mark.parametrize("rule", ["tools.example", "*.example", "*", "http://tools.example:{port}", "127.0.0.0/8"])
async def test_what_run_yaml_denies_stays_out_even_if_it_is_listed(
    start: Start, mcp_server: ScriptedMcp, tag: str, rule: str
) -> None:
    policy = {"allow": ["tools.example", "127.0.0.1"], "deny": [rule.format(port=mcp_server.port)]}
    runtime = await start(Names({"tools.example": ["127.0.0.1"]}), policy=policy)
    assert await denied(runtime, mcp_server.url(host="tools.example", tag=tag)) == "run.yaml denies it"
    assert mcp_server.requests(tag) == []


@pytest.mark.parametrize("allow", [[], ["10.0.0.0/8"], ["other.example"]], ids=str)
async def test_public_servers_stay_out_where_run_yaml_wants_them_listed(start: Start, allow: list[str]) -> None:
    runtime = await start(Names({"public.example": ["8.8.8.8"]}), policy={"allow": allow, "public": False})
    assert await denied(runtime, "https://public.example/mcp") == "run.yaml does not list it"
    assert await denied(runtime, "https://8.8.8.8/mcp") == "run.yaml does not list it"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://tools.example/mcp", "it is no http:// or https:// address"),
        ("file:///etc/passwd", "it is no http:// or https:// address"),
        ("tools.example/mcp", "it is no http:// or https:// address"),
        ("//tools.example/mcp", "it is no http:// or https:// address"),
        ("https://me:secret@tools.example/mcp", "it holds a user name or a password"),
        ("https://tools.example@127.0.0.1/mcp", "it holds a user name or a password"),
        ("https:///mcp", "its host is neither a name nor an address"),
        ("https://to ols.example/mcp", "its host is neither a name nor an address"),
        ("https://[fe80::1%25eth0]/mcp", "its host is neither a name nor an address"),
        ("https://999.1.1.1/mcp", "it is no valid URL"),
        ("https://tools.example:99999/mcp", "its port is none from 1 to 65535"),
        ("https://tools.example:0/mcp", "its port is none from 1 to 65535"),
        ("https://tools.example:port/mcp", "it is no valid URL"),
        ("https://tools.example/mcp\r\nX: y", "it is no valid URL"),
    ],
)
async def test_what_is_no_address_of_a_server_is_denied(start: Start, url: str, reason: str) -> None:
    assert await denied(await start(policy={"allow": ["*"]}), url) == reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/meta-data", "http://127.0.0.1:{port}/mcp?tag={tag}", "//localhost/mcp", "ftp://x/"],
)
async def test_a_redirect_to_another_server_is_not_followed(
    start: Start, mcp_server: ScriptedMcp, tag: str, status: int, location: str
) -> None:
    runtime = await start(Names({"tools.example": ["127.0.0.1"]}), policy={"allow": ["*"]})
    to = location.format(port=mcp_server.port, tag=tag)
    url = mcp_server.url(host="tools.example", fault="redirect", status=status, to=to)
    with pytest.raises(ToolFailed) as caught:
        async with runtime.open_server(at(url)):
            pass
    assert caught.value.message == f"it redirects elsewhere (status {status}), which is not followed"
    assert mcp_server.requests(tag) == []


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_to_another_path_of_the_same_server_is_followed(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, tag: str, status: int
) -> None:
    to = f"/mcp/below?tag={tag}"
    url = mcp_server.url(fault="redirect", status=status, to=to, tag=f"{tag}-first")
    async with runtime.open_server(at(url, authorization=GOOD_TOKEN)) as session:
        assert await session.call_tool("echo", {"text": "hi"}) == HI
    for request in await mcp_server.requested(tag, count=2):
        assert request.headers["authorization"] == f"Bearer {GOOD_TOKEN}"


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_would_drop_the_message_is_not_followed(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, status: int
) -> None:
    with pytest.raises(ToolFailed, match="it redirects elsewhere"):
        async with runtime.open_server(at(mcp_server.url(fault="redirect", status=status, to="/mcp/below"))):
            pass


async def test_a_redirect_to_itself_is_followed_for_a_while(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, tag: str
) -> None:
    with pytest.raises(ToolFailed, match="it redirects in a circle"):
        async with runtime.open_server(at(mcp_server.url(fault="redirect-to-itself", tag=tag))):
            pass
    assert len(mcp_server.requests(tag)) == 4


async def test_a_redirect_to_no_address_is_an_error(runtime: McpToolRuntime, mcp_server: ScriptedMcp) -> None:
    url = mcp_server.url(fault="redirect", status=307, to="http://127.0.0.1:port/")
    with pytest.raises(ToolFailed, match="its answer is not of the Model Context Protocol"):
        async with runtime.open_server(at(url)):
            pass


@pytest.mark.parametrize(
    ("host", "reason"),
    [("tools.example", "it redirects to one that run.yaml does not list"), ("127.0.0.1", NOT_PUBLIC)],
)
async def test_a_redirect_out_of_the_path_that_run_yaml_lists_is_denied(
    start: Start, mcp_server: ScriptedMcp, tag: str, host: str, reason: str
) -> None:
    policy = {"allow": [mcp_server.url(host=host, path="/mcp/below")]}
    runtime = await start(Names({"tools.example": ["127.0.0.1"]}), policy=policy)
    to = f"/mcp?tag={tag}"
    url = mcp_server.url(host=host, path="/mcp/below", fault="redirect", status=307, to=to, tag=f"{tag}-first")
    assert await denied_at_last(runtime, url) == reason
    assert len(mcp_server.requests(f"{tag}-first")) == 1
    assert mcp_server.requests(tag) == []


async def test_proxies_of_the_environment_are_not_used(
    start: Start, mcp_server: ScriptedMcp, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    runtime = await start(policy=LOOPBACK)
    async with runtime.open_server(at(mcp_server.url())) as session:
        assert await session.call_tool("echo", {"text": "hi"}) == HI
