"""Every way in which an MCP server can fail, as an error that says so and gives nothing away."""

from __future__ import annotations

import asyncio
import re

import pytest

from integration.tool_runtime.servers import LOOPBACK, Names, Start, at
from llama_conversations.apis.tools import ToolResult
from llama_conversations.errors import ToolFailed
from llama_conversations_providers.tool_runtime.mcp.addresses import IPAddress
from llama_conversations_providers.tool_runtime.mcp.provider import McpToolRuntime
from scripted_mcp import ScriptedMcp
from scripted_model.raw import RawServer

SMALL = 100_000

PROTOCOL = "its answer is not of the Model Context Protocol"
ENDED = "the connection ended before a whole answer had come"

FAULTS = [
    ("gateway-error", "it answered with status 429 (Too Many Requests)", None),
    ("html", PROTOCOL, None),
    ("not-json", PROTOCOL, None),
    ("not-jsonrpc", PROTOCOL, None),
    ("wrong-id", PROTOCOL, None),
    ("wrong-result", PROTOCOL, None),
    ("wrong-event", PROTOCOL, None),
    ("error-without-id", "it answered with an error: who are you?", -32007),
    ("empty-stream", ENDED, None),
    ("cut-stream", ENDED, None),
    ("accepted", PROTOCOL, None),
    ("compressed", "its answer is compressed, which was not asked for", None),
    ("huge", f"its answer is longer than {SMALL} bytes", None),
    ("huge-stream", f"its answer is longer than {SMALL} bytes", None),
    ("cut", f"{ENDED}, or what came is not HTTP", None),
    ("hang", "silent for 0.3 seconds", None),
    ("hang-stream", "silent for 0.3 seconds", None),
]


@pytest.fixture
async def strict(start: Start) -> McpToolRuntime:
    """A runtime with little patience."""
    return await start(policy=LOOPBACK, max_response_bytes=SMALL, timeouts={"read_seconds": 0.3})


@pytest.mark.parametrize("era", ["both", "legacy"])
@pytest.mark.parametrize(("fault", "message", "code"), FAULTS, ids=[name for name, _, _ in FAULTS])
async def test_a_call_that_goes_wrong_fails_alone(
    strict: McpToolRuntime, mcp_server: ScriptedMcp, era: str, fault: str, message: str, code: int | None
) -> None:
    async with strict.open_server(at(mcp_server.url(era=era, fault=fault, on="tools/call"))) as session:
        with pytest.raises(ToolFailed) as caught:
            await session.call_tool("echo", {"text": "hi"})
        assert (caught.value.label, caught.value.message, caught.value.code) == ("weather", message, code)
        assert await session.list_tools()


@pytest.mark.parametrize(("fault", "message", "code"), FAULTS, ids=[name for name, _, _ in FAULTS])
async def test_a_handshake_that_goes_wrong_opens_no_session(
    strict: McpToolRuntime, mcp_server: ScriptedMcp, fault: str, message: str, code: int | None
) -> None:
    with pytest.raises(ToolFailed) as caught:
        async with strict.open_server(at(mcp_server.url(era="legacy", fault=fault, on="initialize"))):
            pass
    assert (caught.value.message, caught.value.code) == (message, code)


async def test_a_server_of_an_unknown_version_opens_no_session(strict: McpToolRuntime, mcp_server: ScriptedMcp) -> None:
    url = mcp_server.url(era="legacy", fault="other-version", version="2099-01-01", on="initialize")
    with pytest.raises(ToolFailed, match="it speaks no version of the protocol that is known here"):
        async with strict.open_server(at(url)):
            pass


@pytest.mark.parametrize("status", [300, 400, 401, 403, 404, 405, 409, 500, 503])
async def test_a_status_that_says_no_is_told(strict: McpToolRuntime, mcp_server: ScriptedMcp, status: int) -> None:
    server = at(mcp_server.url(fault="status", status=status, on="tools/call"))
    async with strict.open_server(server) as session:
        with pytest.raises(ToolFailed, match=f"it answered with status {status} \\("):
            await session.call_tool("echo", {"text": "hi"})


async def test_a_status_without_a_name_is_told(strict: McpToolRuntime, mcp_server: ScriptedMcp) -> None:
    with pytest.raises(ToolFailed, match=r"it answered with status 599$"):
        async with strict.open_server(at(mcp_server.url(fault="status", status=599))):
            pass


@pytest.mark.parametrize(
    ("require", "status"), [("bearer", "401 (Unauthorized)"), ("header", "403 (Forbidden)")], ids=["token", "header"]
)
async def test_without_its_credentials_a_server_opens_no_session(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, require: str, status: str
) -> None:
    with pytest.raises(ToolFailed, match=re.escape(f"it answered with status {status}")):
        async with runtime.open_server(at(mcp_server.url(require=require), {"X-Tenant": "no"}, "wrong-token")):
            pass


@pytest.mark.parametrize(
    ("tool", "message", "code"),
    [
        ("refuses", "it answered with an error: the moon is not full", -32050),
        ("no_such_tool", "it answered with an error: Unknown tool: no_such_tool", -32602),
    ],
)
async def test_an_error_of_the_protocol_keeps_its_words_and_its_code(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, tool: str, message: str, code: int
) -> None:
    async with runtime.open_server(at(mcp_server.url())) as session:
        with pytest.raises(ToolFailed) as caught:
            await session.call_tool(tool, {})
    assert (caught.value.message, caught.value.code) == (message, code)
    assert str(caught.value) == f"Tool server 'weather': {message}"


async def test_a_tool_that_asks_for_input_fails(runtime: McpToolRuntime, mcp_server: ScriptedMcp) -> None:
    async with runtime.open_server(at(mcp_server.url())) as session:
        with pytest.raises(ToolFailed, match="asks for input"):
            await session.call_tool("asks", {})


@pytest.mark.parametrize(
    ("listing", "limits", "message"),
    [
        ("pages", {"max_tools": 24}, "it has more than 24 tools"),
        ("endless", {"max_tools": 24}, "it has more than 24 tools"),
        ("circle", {}, "its list of tools has no end"),
        ("bulky", {"max_response_bytes": 2_500_000}, "its list of tools is longer than 2500000 bytes"),
    ],
)
async def test_a_list_of_tools_that_is_too_long_is_refused(
    start: Start, mcp_server: ScriptedMcp, listing: str, limits: dict[str, int], message: str
) -> None:
    runtime = await start(policy=LOOPBACK, **limits)
    async with runtime.open_server(at(mcp_server.url(listing=listing))) as session:
        with pytest.raises(ToolFailed, match=message):
            await session.list_tools()
        assert await session.call_tool("echo", {"text": "hi"}) == ToolResult("hi")


async def test_as_many_tools_as_may_be_are_listed(start: Start, mcp_server: ScriptedMcp) -> None:
    runtime = await start(policy=LOOPBACK, max_tools=25)
    async with runtime.open_server(at(mcp_server.url(listing="pages"))) as session:
        assert len(await session.list_tools()) == 25


@pytest.mark.parametrize("era", ["both", "legacy"])
async def test_a_call_that_takes_too_long_fails_and_the_server_is_told(
    start: Start, mcp_server: ScriptedMcp, tag: str, era: str
) -> None:
    runtime = await start(policy=LOOPBACK, timeouts={"call_seconds": 0.3})
    async with runtime.open_server(at(mcp_server.url(era=era))) as session:
        with pytest.raises(ToolFailed, match=r"no answer within 0\.3 seconds"):
            await session.call_tool("slow", {"gate": tag})
        assert await mcp_server.left(tag) == "cancelled"
        assert await session.call_tool("echo", {"text": "hi"}) == ToolResult("hi")


async def test_a_session_that_takes_too_long_to_open_fails(start: Start, mcp_server: ScriptedMcp) -> None:
    runtime = await start(policy=LOOPBACK, timeouts={"open_seconds": 0.3})
    with pytest.raises(ToolFailed, match=r"no session within 0\.3 seconds"):
        async with runtime.open_server(at(mcp_server.url(fault="hang"))):
            pass


async def test_a_server_that_hangs_on_a_notice_does_not_hold_up_its_session(
    start: Start, mcp_server: ScriptedMcp
) -> None:
    runtime = await start(policy=LOOPBACK, timeouts={"call_seconds": 0.3})
    url = mcp_server.url(era="legacy", fault="hang", on="notifications/initialized")
    async with runtime.open_server(at(url)) as session:
        with pytest.raises(ToolFailed, match=r"no answer within 0\.3 seconds"):
            await session.list_tools()


async def test_a_server_that_dies_in_a_call_fails_it_and_those_after_it(runtime: McpToolRuntime) -> None:
    with ScriptedMcp() as server:
        async with runtime.open_server(at(server.url(era="legacy"))) as session:
            with pytest.raises(ToolFailed, match=ENDED):
                await session.call_tool("crashes", {})
            with pytest.raises(ToolFailed, match=f"no connection could be made|{ENDED}"):
                await session.call_tool("echo", {"text": "hi"})


@pytest.mark.parametrize("answer", [None, b"oops\r\n\r\n"], ids=["hangs up", "speaks no HTTP"])
async def test_a_server_that_is_none_opens_no_session(runtime: McpToolRuntime, answer: bytes | None) -> None:
    raw = RawServer([answer])
    async with await asyncio.start_server(raw.serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(ToolFailed, match=ENDED):
            async with runtime.open_server(at(f"http://127.0.0.1:{port}/mcp")):
                pass
    assert raw.connections == 1


async def test_a_port_where_nobody_listens_opens_no_session(runtime: McpToolRuntime) -> None:
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
    with pytest.raises(ToolFailed, match="no connection could be made") as caught:
        async with runtime.open_server(at(f"http://127.0.0.1:{port}/mcp")):
            pass
    assert str(port) not in str(caught.value)


async def test_a_name_that_nobody_knows_opens_no_session(start: Start) -> None:
    runtime = await start(Names({}))
    with pytest.raises(ToolFailed, match="its host name cannot be resolved"):
        async with runtime.open_server(at("https://no.such.example/mcp")):
            pass


async def test_a_name_without_addresses_opens_no_session(start: Start) -> None:
    runtime = await start(Names({"empty.example": [""]}))
    with pytest.raises(ToolFailed, match="its host name cannot be resolved"):
        async with runtime.open_server(at("https://empty.example/mcp")):
            pass


@pytest.mark.parametrize(
    ("headers", "token", "message"),
    [
        ({"Host": "internal"}, None, "the header 'Host' cannot be set"),
        ({"transfer-encoding": "chunked"}, None, "the header 'transfer-encoding' cannot be set"),
        ({"X y": "1"}, None, "the header 'X y' cannot be set"),
        ({"X-Y": "a\r\nX-Admin: 1"}, None, "the value of the header 'X-Y' cannot be sent"),
        ({"X-Y": "Grüße"}, None, "the value of the header 'X-Y' cannot be sent"),
        ({}, "to\nken", "the value of the header 'authorization' cannot be sent"),
    ],
)
async def test_a_header_that_cannot_be_sent_opens_no_session(
    runtime: McpToolRuntime, mcp_server: ScriptedMcp, headers: dict[str, str], token: str | None, message: str
) -> None:
    with pytest.raises(ToolFailed, match=message):
        async with runtime.open_server(at(mcp_server.url(), headers, token)):
            pass


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({}, "server_url"),
        ({"server_url": "ftp://secret.example"}, "server_url"),
        ({"server_url": "https://me:secret@x.example"}, "server_url"),
        ({"server_url": "https://x.example:99999"}, "server_url"),
        ({"server_url": "https://x.example", "headers": {"X": ["secret"]}, "token": "secret"}, "headers.X, token"),
    ],
)
async def test_a_group_with_wrong_settings_opens_no_session(
    runtime: McpToolRuntime, arguments: dict[str, object], wrong: str
) -> None:
    with pytest.raises(ToolFailed) as caught:
        async with runtime.open_group("in-house", arguments):
            pass
    assert caught.value.message == f"its settings in run.yaml are wrong: {wrong}"
    assert caught.value.label == "in-house"


async def test_a_name_that_takes_too_long_to_look_up_opens_no_session(start: Start) -> None:
    async def never(name: str) -> list[IPAddress]:
        return await asyncio.get_running_loop().create_future()

    runtime = await start(never, timeouts={"connect_seconds": 0.3})
    with pytest.raises(ToolFailed, match=r"no connection within 0\.3 seconds"):
        async with runtime.open_server(at("https://slow.example/mcp")):
            pass
