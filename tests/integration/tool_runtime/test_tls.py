"""Over TLS a server is who its name says it is, whatever address the name leads to."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from integration.tool_runtime.servers import LOOPBACK, Names, at
from llama_conversations.apis.tools import ToolResult
from llama_conversations.errors import ConfigError, ToolFailed
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations_providers.tool_runtime.mcp.config import McpConfig
from llama_conversations_providers.tool_runtime.mcp.provider import McpToolRuntime, create
from scripted_mcp import ScriptedMcp

CERTIFICATES = Path(__file__).parents[1] / "providers" / "certificates"
AUTHORITY = CERTIFICATES / "authority.pem"
LOCALHOST = {"allow": ["localhost"]}


@pytest.fixture(scope="module")
def tls_server() -> Iterator[ScriptedMcp]:
    """A server whose certificate is for ``localhost`` and ``127.0.0.1``."""
    with ScriptedMcp(CERTIFICATES / "server.pem") as server:
        yield server


@asynccontextmanager
async def running(runtime: McpToolRuntime) -> AsyncIterator[McpToolRuntime]:
    await runtime.initialize()
    try:
        yield runtime
    finally:
        await runtime.shutdown()


def created(**settings: object) -> McpToolRuntime:
    return create(ProviderContext("mcp", McpConfig.model_validate(settings), {}))


async def test_a_server_with_a_certificate_of_the_configured_authority_is_trusted(tls_server: ScriptedMcp) -> None:
    async with (
        running(created(policy=LOCALHOST, ca_file=str(AUTHORITY))) as runtime,
        runtime.open_server(at(tls_server.url(host="localhost"))) as session,
    ):
        assert await session.call_tool("echo", {"text": "hi"}) == ToolResult("hi")


async def test_a_server_with_a_certificate_of_nobody_known_is_not(tls_server: ScriptedMcp) -> None:
    async with running(created(policy=LOCALHOST)) as runtime:
        with pytest.raises(ToolFailed, match="its certificate cannot be verified"):
            async with runtime.open_server(at(tls_server.url(host="localhost"))):
                pass


async def test_the_certificate_has_to_be_for_the_name_and_not_for_the_address(tls_server: ScriptedMcp) -> None:
    trusting = ssl.create_default_context(cafile=AUTHORITY)
    names = Names({"tools.example": ["127.0.0.1"]})
    async with running(McpToolRuntime(McpConfig.model_validate({"policy": LOOPBACK}), trusting, names)) as runtime:
        with pytest.raises(ToolFailed, match="its certificate cannot be verified"):
            async with runtime.open_server(at(tls_server.url(host="tools.example"))):
                pass
        async with runtime.open_server(at(tls_server.url())) as session:
            assert await session.call_tool("echo", {"text": "hi"}) == ToolResult("hi")


async def test_a_server_that_speaks_no_tls_is_an_error(mcp_server: ScriptedMcp) -> None:
    async with running(created(policy=LOOPBACK)) as runtime:
        with pytest.raises(ToolFailed, match="no TLS connection could be made"):
            async with runtime.open_server(at(mcp_server.url().replace("http:", "https:"))):
                pass


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "no PEM"])
def test_a_file_that_holds_no_authorities_is_an_error_at_the_start(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"provider 'mcp': ca_file: '.*authority\.pem' cannot be used: "):
        created(ca_file=str(path))
