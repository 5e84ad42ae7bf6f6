"""Servers that are killed while they run a tool: the turn has failed, its conversation is free, the next works."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.background import begin_stream, follow, queue, settled
from harness.conversations import create, items_of
from harness.server import StackServer, scripted_config
from harness.tools import mcp, script, types_of
from harness.turns import post, text_of, turn
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel

DIED = {"code": "server_error", "message": "The server stopped before the turn had ended."}
WAYS = ("plain", "queued", "queued and streamed")


@pytest.fixture
def mcp_server() -> Iterator[ScriptedMcp]:
    """The MCP server."""
    with ScriptedMcp() as server:
        yield server


def test_a_turn_that_was_killed_in_a_tool_s_call_has_failed_and_the_next_one_works(
    new_server: Any, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str, tmp_path: Any
) -> None:
    runtime = {"provider_id": "mcp", "provider_type": "inline::mcp", "config": {"policy": {"allow": ["127.0.0.1"]}}}
    inference = scripted_config(tmp_path, model.base_url)["providers"]
    server: StackServer = new_server(providers={**inference, "tool_runtime": [runtime]}).start()
    tools = [mcp(mcp_server.url(tag=tag), allowed_tools=["slow", "add"])]
    with server.http() as http, ThreadPoolExecutor(1) as pool:
        conversations = {way: create(http) for way in WAYS}
        begun: dict[str, str] = {}
        for way, conversation_id in conversations.items():
            said = script(model, f"{tag}-{way[:6]}", [("slow", {"gate": tag})])
            fields: dict[str, Any] = {"tools": tools, "conversation": conversation_id}
            if way == "plain":
                running = pool.submit(post, http, "scripted", said, **fields)
            else:
                begin: Any = begin_stream if way.endswith("streamed") else lambda *a, **k: queue(*a, **k)["id"]
                begun[way] = begin(http, "scripted", said, **fields)
            assert mcp_server.requests(tag, "tools/call", count=len(begun) + 1)
        server.kill()
        with pytest.raises(httpx2.TransportError):
            running.result()
    mcp_server.open_gate(tag)
    server.start()
    with server.http() as http:
        for way, response_id in begun.items():
            died = settled(http, response_id)
            assert (died["status"], died["error"], died["output"]) == ("failed", DIED, [])
            if way.endswith("streamed"):
                assert follow(http, response_id)[-1]["response"] == died
        [failed] = [r for r in ok(http.get("/responses"))["data"] if r["id"] not in begun.values()]
        assert (failed["status"], failed["error"]) == ("failed", DIED)
        for conversation_id in conversations.values():
            assert items_of(http, conversation_id) == []
            said = script(model, tag, [("add", {"a": 2, "b": 3})], "5")
            after = turn(http, "scripted", said, tools=tools, conversation=conversation_id)
            assert types_of(after) == ["mcp_list_tools", "mcp_call", "message"]
            assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == "seen=5 last=Next"
        refused(post(http, previous_response_id=failed["id"]), 400, None, "previous_response_id")
    assert len(mcp_server.requests(tag, "tools/call")) == len(WAYS) * 2
