"""Items of tool servers that clients send back without what the server keeps of them, as Pydantic AI does."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from harness.conversations import create, items_of, user
from harness.tools import mcp, offered, script, types_of
from harness.turns import input_items, sent, turn
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel

ADD = ("add", {"a": 2, "b": 3})


def abridged(item: dict[str, Any]) -> dict[str, Any]:
    """An item without a tool's output, and without the tools of a server: "these can be read server-side"."""
    if item["type"] == "mcp_list_tools":
        return item | {"tools": []}
    return item | {"output": None, "error": None, "status": None} if item["type"] == "mcp_call" else item


@pytest.mark.parametrize("into", ["input", "conversation"])
def test_what_is_left_out_is_read_from_what_is_stored(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str, into: str
) -> None:
    tools = [mcp(mcp_server.url(tag=tag), allowed_tools=["add"])]
    first = turn(http, "scripted", script(model, tag, [ADD], "5", "Sure."), tools=tools)
    sent_back = [user("Add."), *map(abridged, first["output"])]
    if into == "conversation":
        conversation_id = create(http, sent_back)
        assert items_of(http, conversation_id)[1:] == first["output"]
        second = turn(http, "scripted", f"Sure? tag={tag}", tools=tools, conversation=conversation_id)
    else:
        second = turn(http, "scripted", [*sent_back, user(f"Sure? tag={tag}")], tools=tools)
        assert input_items(http, second["id"])[1:4] == first["output"]
    assert types_of(second) == ["message"]
    body = sent(model, tag, 3)[2].body
    assert offered(body) == ["add"]
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool", "assistant", "user"]
    assert body["messages"][2]["content"] == "5"
    assert len(mcp_server.requests(tag, "tools/list")) == len(mcp_server.requests(tag, "tools/call")) == 1


def test_what_is_stored_nowhere_stays_as_it_came_and_the_tools_are_listed_again(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    tools = [mcp(mcp_server.url(tag=tag), allowed_tools=["add"])]
    first = turn(http, "scripted", script(model, tag, [ADD], "5", "Sure."), tools=tools, store=False)
    sent_back = [user("Add."), *map(abridged, first["output"]), user(f"Sure? tag={tag}")]
    second = turn(http, "scripted", sent_back, tools=tools)
    assert types_of(second) == ["mcp_list_tools", "message"]
    body = sent(model, tag, 3)[2].body
    assert offered(body) == ["add"]
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
