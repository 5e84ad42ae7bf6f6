"""Which tool server an ``mcp`` tool names, and how a session with it is opened."""

from __future__ import annotations

import pytest

from llama_conversations.apis.tools import ToolServer
from llama_conversations.errors import InvalidParameter
from llama_conversations.services.tools import ToolGroup, ToolServers
from llama_conversations.wire.tools import McpServerTool
from unit.services.responses.support import Tools


def tool(**fields: object) -> McpServerTool:
    return McpServerTool.model_validate({"type": "mcp", "server_label": "x", **fields})


async def test_an_address_is_opened_with_its_headers_and_its_token_by_the_first_runtime() -> None:
    first, second = Tools(), Tools()
    servers = ToolServers({"a": first, "b": second}, {})
    async with servers.session(tool(server_url="http://t", headers={"X": "1"}, authorization="secret")):
        pass
    server = ToolServer("x", "http://t", {"X": "1"}, "secret")
    assert first.seen == [("open", server), ("close", server)]
    assert second.seen == []
    assert "secret" not in repr(server)


async def test_a_group_is_opened_by_its_own_runtime_with_its_own_settings() -> None:
    first, second = Tools(), Tools()
    servers = ToolServers({"a": first, "b": second}, {"docs": ToolGroup("b", {"k": 1})})
    async with servers.session(tool(connector_id="docs")):
        pass
    assert first.seen == []
    assert second.seen[0] == ("open", ("docs", {"k": 1}))


def test_an_unknown_group_is_told_with_those_that_there_are() -> None:
    for groups, known in (({}, "none"), ({"b": ToolGroup("a"), "a": ToolGroup("a")}, "a, b")):
        with pytest.raises(InvalidParameter, match=f"Registered tool groups: {known}") as found:
            ToolServers({"a": Tools()}, groups).check(tool(connector_id="c"), "tools[0]")
        assert found.value.param == "tools[0].connector_id"
