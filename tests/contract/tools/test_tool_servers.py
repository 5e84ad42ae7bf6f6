"""Which tool servers a request may name, and what becomes of the credentials that it gives for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.background import queue, settled
from harness.conversations import create
from harness.server import StackServer
from harness.tools import mcp, of_type, script, types_of
from harness.turns import post, request, stream, turn
from scripted_mcp import GOOD_TENANT, GOOD_TOKEN, ScriptedMcp
from scripted_model import ScriptedModel

ADD = ("add", {"a": 2, "b": 3})
URL = "https://tools.example.com/mcp"


@pytest.mark.parametrize(
    ("tools", "code", "param"),
    [
        ([{"type": "mcp", "server_label": "x"}], "missing_required_parameter", "tools[0]"),
        ([mcp(URL, connector_id="house")], "missing_required_parameter", "tools[0]"),
        ([{"type": "mcp", "server_label": "x", "connector_id": "no"}], "invalid_value", "tools[0].connector_id"),
        ([mcp(URL), mcp(URL)], "invalid_value", "tools[1].server_label"),
        ([mcp(URL, "1 label")], "invalid_value", "tools[0].server_label"),
        ([{"type": "mcp", "server_url": URL}], "missing_required_parameter", "tools[0].server_label"),
        ([mcp(URL, require_approval="sometimes")], "invalid_value", "tools[0].require_approval"),
        ([mcp(URL, require_approval={"now": {}})], "unknown_parameter", "tools[0].require_approval.now"),
        ([mcp(URL, allowed_tools="add")], "invalid_type", "tools[0].allowed_tools"),
        ([mcp(URL, headers={"x": 1})], "invalid_type", "tools[0].headers.x"),
    ],
    ids=str,
)
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_tool_that_is_wrong_is_refused_by_its_path(
    http: httpx2.Client, tools: object, code: str, param: str, streamed: bool
) -> None:
    refused(post(http, tools=tools, stream=streamed), 400, code, param)


def test_without_a_tool_runtime_such_tools_are_refused_by_name(new_server: Any) -> None:
    with new_server().start().http() as http:
        refused(post(http, tools=[mcp(URL)]), 400, "unsupported_parameter", "tools[0]")


def test_a_private_address_is_denied_before_anything_begins_unless_it_is_allowed(
    new_server: Any, tool_sections: dict[str, Any], model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    runtime = {"provider_id": "mcp", "provider_type": "inline::mcp"}
    server = new_server(**(tool_sections | {"providers": tool_sections["providers"] | {"tool_runtime": [runtime]}}))
    with server.start().http() as http:
        fields: dict[str, Any] = {"conversation": create(http)}
        for host in ("127.0.0.1", "localhost"):
            fields["tools"] = [mcp(mcp_server.url(host, tag=tag))]
            for how in ({}, {"stream": True}, {"background": True}, {"background": True, "stream": True}):
                assert "not allowed" in refused(post(http, **fields, **how), 400, None, "tools")
            with server.client() as client, client.responses.connect() as connection:
                connection.response.create(model="echo", input="Hello", **fields)
                told = connection.recv().to_dict()
                assert (told["type"], told["status"], told["error"]["param"]) == ("error", 400, "tools")
        assert ok(http.get("/responses"))["data"] == []
        house = {"type": "mcp", "server_label": "x", "connector_id": "house", "require_approval": "never"}
        said = script(model, tag, [ADD], "5")
        assert types_of(turn(http, "scripted", said, tools=[house]))[1:] == ["mcp_call", "message"]
    assert mcp_server.requests(tag) == []


SECRETS: list[tuple[str, str, dict[str, Any]]] = [
    ("bearer", GOOD_TOKEN, {"authorization": GOOD_TOKEN}),
    ("bearer", GOOD_TOKEN, {"headers": {"Authorization": f"Bearer {GOOD_TOKEN}"}}),
    ("header", GOOD_TENANT, {"headers": {"X-Tenant": GOOD_TENANT}}),
]


@pytest.mark.databases("sqlite")  # it looks into the database's file
@pytest.mark.parametrize("how", ["plain", "streamed", "background"])
def test_credentials_reach_the_tool_server_and_are_neither_shown_nor_kept(
    new_server: Any,
    tool_sections: dict[str, Any],
    model: ScriptedModel,
    mcp_server: ScriptedMcp,
    tag: str,
    tmp_path: Path,
    how: str,
) -> None:
    server: StackServer = new_server(tmp_path / "kept", **tool_sections).start()
    with server.http() as http:
        for require, secret, fields in SECRETS:
            conversation_id = create(http)
            tools = [mcp(mcp_server.url(require=require), **fields)]
            said = script(model, tag, [ADD], "5")
            if how == "background":
                response = settled(http, queue(http, "scripted", said, tools=tools, conversation=conversation_id)["id"])
            elif how == "streamed":
                response = stream(http, "scripted", said, tools=tools, conversation=conversation_id).response
            else:
                response = turn(http, "scripted", said, tools=tools, conversation=conversation_id)
            assert [call["output"] for call in of_type(response, "mcp_call")] == ["5"]
            [shown] = response["tools"]
            assert "authorization" not in shown
            assert set(shown.get("headers", {}).values()) <= {"<redacted>"}
            assert secret not in json.dumps(response) + http.get(f"/conversations/{conversation_id}/items").text
    for secret in (GOOD_TOKEN, GOOD_TENANT):
        kept = [path for path in (tmp_path / "kept").glob("state.db*") if path.is_file()]
        assert kept
        assert [path.name for path in kept if secret.encode() in path.read_bytes()] == []
    server.stop()
    assert GOOD_TENANT not in server.log


def test_wrong_credentials_fail_the_list_and_are_not_told(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    url = mcp_server.url(fault="error-with-credentials", own_url="http://u:pw-secret@127.0.0.1/")
    tools = [mcp(url, authorization="wrong-secret")]
    answer = post(http, "scripted", script(model, tag, "Hello."), tools=tools)
    [listed] = of_type(ok(answer), "mcp_list_tools")
    assert listed["tools"] == []
    assert listed["error"]
    assert "wrong-secret" not in answer.text


def test_a_registered_group_has_credentials_of_its_own(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    vault = {"type": "mcp", "server_label": "v", "connector_id": "vault", "require_approval": "never"}
    answer = post(http, "scripted", script(model, tag, [ADD], "5"), tools=[vault])
    assert of_type(ok(answer), "mcp_call")[0]["output"] == "5"
    assert GOOD_TOKEN not in answer.text


def test_at_its_start_it_tells_of_models_only_where_a_provider_has_some(tool_server: StackServer) -> None:
    lines = [line.strip() for line in tool_server.output if line.startswith("Provider")]
    assert lines[1:] == ["Provider  mcp (inline::mcp)", "Provider  search (remote::web-search)"]


def test_tool_groups_are_not_counted_as_tools_of_a_request_without_them(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    body = request("echo", f"tag={tag}")
    ok(http.post("/responses", json=body))
    [asked] = model.requests(tag=tag)
    assert "tools" not in asked.body
