"""Searches of the web that this server does: offered as a function, shown as the hosted tool's items are."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from harness.answers import ok, refused
from harness.background import begin_stream, followed, queue, settled
from harness.conversations import create, items_of
from harness.event_stream import JsonObject
from harness.server import StackServer, search_providers
from harness.tools import calls, mcp, of_type, offered, script, types_of
from harness.turns import WEATHER, post, sent, stream, text_of, turn
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel, Step
from scripted_model.answers import delta, finish, tool_call
from scripted_search import ScriptedSearch, page, snippet

SEARCH = {"type": "web_search"}
SOURCES = "web_search_call.action.sources"
RESULTS = "web_search_call.results"
STREAMED = pytest.mark.parametrize("take", [turn, lambda *a, **k: stream(*a, **k).response], ids=["plain", "streamed"])


def search(query: str) -> tuple[str, object]:
    """A call of the search."""
    return ("web_search", {"query": query})


def results(query: str, count: int = 2) -> list[JsonObject]:
    """What it brings."""
    return [{"title": f"Page {n}", "url": page(n), "snippet": snippet(n, query)} for n in range(1, count + 1)]


def tool_messages(body: JsonObject) -> list[str]:
    """What a request tells the model of its tools' answers."""
    return [message["content"] for message in body["messages"] if message["role"] == "tool"]


@STREAMED
@pytest.mark.parametrize("kind", ["web_search", "web_search_preview_2025_03_11"])
def test_the_model_searches_and_reads_what_was_found(
    http: httpx2.Client, model: ScriptedModel, search_service: ScriptedSearch, tag: str, take: Any, kind: str
) -> None:
    tool = {"type": kind, "search_context_size": "low"}
    said = script(model, tag, [search(f"cats {tag}")], f"See [Page 2]({page(2)}).")
    response = take(http, "scripted", said, tools=[tool], tool_choice={"type": kind})
    found, message = response["output"]
    query = f"cats {tag}"
    assert found.pop("id").startswith("ws_")
    action = {"type": "search", "query": query, "queries": [query]}
    assert found == {"type": "web_search_call", "status": "completed", "action": action}
    [part] = message["content"]
    assert part["text"] == f"See [Page 2]({page(2)})."
    [cited] = part["annotations"]
    assert (cited["type"], cited["url"], cited["title"]) == ("url_citation", page(2), "Page 2")
    assert part["text"][cited["start_index"] : cited["end_index"]] == f"[Page 2]({page(2)})"
    assert (response["tools"], response["tool_choice"]) == ([tool], {"type": kind})
    [asked] = search_service.searches(tag)
    assert asked.headers["authorization"].startswith("Bearer ")
    first, second = (request.body for request in sent(model, tag, 2))
    assert offered(first) == offered(second) == ["web_search"]
    forced = {"type": "function", "function": {"name": "web_search"}}
    assert (first["tool_choice"], second["tool_choice"]) == (forced, "auto")
    [told] = tool_messages(second)
    assert json.loads(told) == results(query)


def test_its_events_come_in_the_order_of_the_api(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    said = script(model, tag, [search("cats")], f"{page(1)} or {page(2)}")
    told = stream(http, "scripted", said, tools=[SEARCH])
    searching = [f"web_search_call.{stage}" for stage in ("in_progress", "searching", "completed")]
    assert told.types[2:7] == ["output_item.added", *searching, "output_item.done"]
    [added, _] = told.of_type("output_item.added")
    assert added["item"].keys() == {"id", "type", "status"}
    citing = ["output_text.annotation.added"] * 2
    assert told.types[-6:] == [*citing, "output_text.done", "content_part.done", "output_item.done", "completed"]


@STREAMED
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("status=429", "asked too often"),
        ("status=401", "credentials"),
        ("status=500", "has failed"),
        ("garbage", "not one of search results"),
        (" ", "'query' must be given"),
    ],
)
def test_a_search_that_fails_is_an_item_and_the_model_is_told(
    http: httpx2.Client, model: ScriptedModel, tag: str, take: Any, query: str, error: str
) -> None:
    said = script(model, tag, [search(query)], "Sorry.")
    response = take(http, "scripted", said, tools=[SEARCH], include=[SOURCES])
    assert (types_of(response), response["status"]) == (["web_search_call", "message"], "completed")
    [failed] = of_type(response, "web_search_call")
    assert (failed["status"], failed["action"]["sources"]) == ("failed", [])
    [told] = tool_messages(sent(model, tag, 2)[1].body) or [f"Error: {error}"]
    assert told.startswith("Error: ")
    assert error in told
    later = script(model, tag, "Hello.")
    turn(http, "scripted", later, previous_response_id=response["id"])


def test_a_service_that_hangs_is_given_up_and_other_settings_hold(
    new_server: Any, tool_sections: Any, model: ScriptedModel, search_service: ScriptedSearch, tag: str
) -> None:
    searches = search_providers(search_service.url(), timeout_seconds=2, max_response_bytes=1000)
    server = new_server(providers=tool_sections["providers"] | {"web_search": searches})
    with server.start().http() as http:
        said = script(model, tag, [search(f"gate={tag}"), search("results=20"), search("results=1")], "Sorry.")
        response = turn(http, "scripted", said, tools=[SEARCH])
        statuses = [found["status"] for found in of_type(response, "web_search_call")]
        assert statuses == ["failed", "failed", "completed"]
        told = tool_messages(sent(model, tag, 2)[1].body)
        assert "within 2 seconds" in told[0]
        assert "longer than 1000 bytes" in told[1]
        assert search_service.left(tag) == "disconnected"
    server.stop()
    assert "search provider 'search': the search service did not answer within 2 seconds" in server.log


@pytest.mark.parametrize(("size", "count", "length"), [("low", 3, 300), (None, 6, 800), ("high", 10, 2000)])
def test_the_context_size_bounds_what_the_model_is_told(
    http: httpx2.Client, model: ScriptedModel, tag: str, size: str | None, count: int, length: int
) -> None:
    query = "results=20 " + "word " * 600
    said = script(model, tag, [search(query)], "Much.")
    turn(http, "scripted", said, tools=[SEARCH | {"search_context_size": size}])
    found = json.loads(tool_messages(sent(model, tag, 2)[1].body)[0])
    assert len(found) == count
    assert {len(one["snippet"]) for one in found} == {length + 1}


@pytest.mark.parametrize(
    ("domains", "count"), [(["EXAMPLE"], 2), (["pages.example", "a.org"], 2), (["ages.example"], 0), ([], 2)]
)
def test_only_pages_of_allowed_domains_are_found_and_both_sides_know_of_them_and_of_the_user(
    http: httpx2.Client,
    model: ScriptedModel,
    search_service: ScriptedSearch,
    tag: str,
    domains: list[str],
    count: int,
) -> None:
    where = {"type": "approximate", "city": "Paris", "country": "FR", "timezone": "Europe/Paris"}
    tool = SEARCH | {"filters": {"allowed_domains": domains}, "user_location": where}
    said = script(model, tag, [search(f"cats {tag}")], "Hm.")
    response = turn(http, "scripted", said, tools=[tool], include=[SOURCES])
    sources = response["output"][0]["action"]["sources"]
    assert sources == [{"type": "url", "url": page(n)} for n in range(1, count + 1)]
    first, second = (request.body for request in sent(model, tag, 2))
    description = first["tools"][0]["function"]["description"]
    assert "The user is near Paris, FR (time zone Europe/Paris)." in description
    if not count:
        assert tool_messages(second) == ["Nothing was found."]
    for domain in domains:
        assert f"site:{domain}" in search_service.searches(tag)[0].query
        assert domain in description


@pytest.mark.parametrize("kept", ["conversation", "chain", "replay"])
@pytest.mark.parametrize("include", [[], [SOURCES], [RESULTS]], ids=["nothing", "sources", "results"])
def test_a_later_turn_tells_the_model_what_the_item_shows(
    http: httpx2.Client, model: ScriptedModel, tag: str, kept: str, include: list[str]
) -> None:
    history: dict[str, Any] = {"conversation": create(http)} if kept == "conversation" else {}
    fields = {"tools": [SEARCH], "include": include}
    first = turn(http, "scripted", script(model, tag, [search("cats")], f"<{page(1)}>"), **fields, **history)
    found = first["output"][0]
    assert ("sources" in found["action"], "results" in found) == (include == [SOURCES], include == [RESULTS])
    said: Any = script(model, tag, "Yes.")
    if kept == "conversation":
        assert items_of(http, history["conversation"])[1:] == first["output"]
    elif kept == "chain":
        history = {"previous_response_id": first["id"]}
    else:
        said = [{"role": "user", "content": "Cats?"}, *first["output"], {"role": "user", "content": said}]
    turn(http, "scripted", said, tools=[SEARCH], **history)
    [_, *told, spoken, _] = sent(model, tag, 3)[2].body["messages"]
    expected = {SOURCES: [page(1), page(2)], RESULTS: results("cats")}
    if include:
        called, answer = told
        assert called["tool_calls"][0]["function"] == {"name": "web_search", "arguments": '{"query":"cats"}'}
        assert json.loads(answer["content"]) == expected[include[0]]
    else:
        assert told == []
    assert spoken["content"] == f"<{page(1)}>"


def test_searches_count_as_tool_calls_and_run_beside_others(
    http: httpx2.Client, model: ScriptedModel, mcp_server: ScriptedMcp, search_service: ScriptedSearch, tag: str
) -> None:
    made = [search(f"gate={tag}"), ("add", {"a": 2, "b": 3}), search("dogs"), search("birds")]
    said = script(model, tag, made, "Enough.")
    tools = [SEARCH, mcp(mcp_server.url(tag=tag), allowed_tools=["add"])]
    response_id = begin_stream(http, "scripted", said, tools=tools, max_tool_calls=3)
    assert mcp_server.requests(tag, "tools/call", count=1)
    search_service.searches(f"gate={tag}", count=1)
    search_service.open_gate(tag)
    told = followed(http, response_id)
    kinds = ["mcp_list_tools", "web_search_call", "mcp_call", "web_search_call", "web_search_call", "message"]
    assert types_of(told.response) == kinds
    assert [found["status"] for found in of_type(told.response, "web_search_call")] == [
        "completed",
        "completed",
        "failed",
    ]
    second = sent(model, tag, 2)[1].body
    assert second["tool_choice"] == "none"
    assert tool_messages(second)[3] == "Error: The limit of tool calls is reached."
    assert search_service.searches(f"birds {tag}") == []


def test_a_search_that_was_cut_off_is_never_made(
    http: httpx2.Client, model: ScriptedModel, search_service: ScriptedSearch, tag: str
) -> None:
    model.script((*tool_call(0, "call_0", "web_search", f'{{"query": "{tag}'), finish("length")), tag=tag)
    told = stream(http, "scripted", f"tag={tag}", tools=[SEARCH])
    assert told.response["status"] == "incomplete"
    [cut] = told.response["output"]
    assert (cut["status"], cut["action"]) == ("failed", {"type": "search", "query": "", "queries": []})
    assert search_service.searches(tag) == []
    turn(http, "scripted", script(model, tag, "Hello."), previous_response_id=told.response["id"])
    assert tool_messages(sent(model, tag, 2)[1].body) == []


def test_a_function_of_the_client_keeps_its_name(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    function = {"type": "function", "name": "web_search", "parameters": {"type": "object"}}
    choice = {"type": "allowed_tools", "mode": "required", "tools": [SEARCH]}
    said = script(model, tag, [("server__web_search", {"query": "cats"})], [search("dogs")])
    response = turn(http, "scripted", said, tools=[function, SEARCH, WEATHER], tool_choice=choice)
    assert types_of(response) == ["web_search_call", "function_call"]
    first, second = (request.body for request in sent(model, tag, 2))
    assert offered(first) == ["server__web_search"]
    assert (first["tool_choice"], second["tool_choice"]) == ("required", "auto")


def test_what_was_said_before_a_search_is_a_message_of_its_own(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    called: tuple[Step, ...] = (delta(content="Let me look."), *calls(search("cats")))
    model.script(called, (delta(content=f"{page(1)}"), finish()), tag=tag)
    told = stream(http, "scripted", f"tag={tag}", tools=[SEARCH])
    assert types_of(told.response) == ["message", "web_search_call", "message"]
    annotated = [len(item["content"][0]["annotations"]) for item in of_type(told.response, "message")]
    assert annotated == [0, 1]


REFUSED: list[tuple[JsonObject, str, str]] = [
    ({"tools": [SEARCH, {"type": "web_search_preview"}]}, "invalid_value", "tools[1]"),
    ({"tools": [WEATHER], "tool_choice": SEARCH}, "invalid_value", "tool_choice"),
    (
        {"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [SEARCH]}},
        "invalid_value",
        "tool_choice",
    ),
    (
        {"tools": [SEARCH | {"filters": {"allowed_domains": ["https://a.org"]}}]},
        "invalid_value",
        "tools[0].filters.allowed_domains[0]",
    ),
    (
        {"tools": [SEARCH | {"filters": {"blocked_domains": ["a.org"]}}]},
        "unsupported_parameter",
        "tools[0].filters.blocked_domains",
    ),
    ({"tools": [SEARCH | {"external_web_access": False}]}, "unsupported_parameter", "tools[0].external_web_access"),
    (
        {"tools": [{"type": "web_search_preview", "search_content_types": ["text", "image"]}]},
        "unsupported_parameter",
        "tools[0].search_content_types",
    ),
    ({"tools": [SEARCH | {"search_context_size": "huge"}]}, "invalid_value", "tools[0].search_context_size"),
    ({"tools": [SEARCH, {"type": "file_search"}]}, "unsupported_parameter", "tools[1]"),
]


@pytest.mark.parametrize(("fields", "code", "param"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_cannot_be_kept_to_is_refused_by_its_path(
    http: httpx2.Client, fields: JsonObject, code: str, param: str
) -> None:
    refused(post(http, **fields), 400, code, param)


def test_a_background_search_that_is_cancelled_is_dropped_and_its_conversation_unlocked(
    http: httpx2.Client, model: ScriptedModel, search_service: ScriptedSearch, tag: str
) -> None:
    conversation_id = create(http)
    said = script(model, tag, [search(f"gate={tag}")])
    response_id = queue(http, "scripted", said, tools=[SEARCH], conversation=conversation_id)["id"]
    search_service.searches(tag, count=1)
    assert ok(http.post(f"/responses/{response_id}/cancel"))["status"] == "cancelled"
    assert search_service.left(tag) == "disconnected"
    assert settled(http, response_id)["output"] == []
    assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == "seen=1 last=Next"


def test_over_an_upstream_that_speaks_responses_this_server_runs_its_tools_all_the_same(
    new_server: Any, tool_sections: Any, model: ScriptedModel, mcp_server: ScriptedMcp, tag: str
) -> None:
    [upstream] = tool_sections["providers"]["inference"]
    asked_in_responses = upstream | {"config": upstream["config"] | {"wire_api": "responses"}}
    with new_server(providers=tool_sections["providers"] | {"inference": [asked_in_responses]}).start().http() as http:
        conversation_id = create(http)
        fields = {"tools": [SEARCH], "tool_choice": SEARCH, "conversation": conversation_id, "include": [SOURCES]}
        response = turn(http, "searching", f"tag={tag}", **fields)
        assert types_of(response) == ["web_search_call", "message"]
        assert response["output"][0]["action"]["query"] == f"tag={tag}"
        assert "Page 1" in response["output"][1]["content"][0]["text"]
        only_search = {"type": "allowed_tools", "mode": "auto", "tools": [SEARCH]}
        turn(http, "echo", f"And? tag={tag}", **fields | {"tool_choice": only_search})
        told = stream(http, "searching", "cats", tools=[SEARCH])
        assert types_of(told.response) == ["web_search_call", "message"]
        odd = [mcp(mcp_server.url(listing="odd"), allowed_tools=["files.read"])]
        assert types_of(turn(http, "tool", "Read.", tools=odd)) == ["mcp_list_tools", "mcp_call", "message"]
    first, second, third = (request.body for request in sent(model, tag, 3))
    assert [tool["type"] for tool in first["tools"]] == ["function"]
    assert (first["tool_choice"], second["tool_choice"]) == ({"type": "function", "name": "web_search"}, "auto")
    assert json.loads(second["input"][2]["output"]) == results(f"tag={tag}")
    assert third["tool_choice"]["tools"] == [{"type": "function", "name": "web_search"}]
    called = ["message", "function_call", "function_call_output"]
    assert [item["type"] for item in third["input"]] == [*called, "message", "message"]


def test_the_official_client_accepts_all_of_it(
    strict_client: OpenAI, tool_server: StackServer, model: ScriptedModel, tag: str
) -> None:
    tools: Any = [SEARCH]
    said = script(model, tag, [search("cats")], f"{page(1)}")
    response = strict_client.responses.create(model="scripted", input=said, tools=tools, include=[SOURCES])
    [found, message] = response.output
    assert found.type == "web_search_call"
    assert message.type == "message"
    [cited] = message.content[0].annotations
    assert (cited.type, cited.url) == ("url_citation", page(1))
    said = script(model, tag, [search("cats")], f"{page(1)}")
    # as in the hosted API's streams a search has no action at first, which the client's types do not foresee
    with (
        tool_server.client() as client,
        client.responses.stream(model="scripted", input=said, tools=tools) as events,
    ):
        kinds = [event.type for event in events]
    assert "response.web_search_call.completed" in kinds
    assert "response.output_text.annotation.added" in kinds
