"""Turns over one connection, with the official client as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.resources.responses.responses import ResponsesConnection

from harness.answers import ok
from harness.conversations import create, items_of, texts_of
from harness.event_stream import check_stream
from harness.turns import WEATHER
from scripted_model import ScriptedModel

ENDS = {"response.completed", "response.incomplete", "response.failed"}


@pytest.fixture
def connection(client: OpenAI) -> Iterator[ResponsesConnection]:
    with client.responses.connect() as connection:
        yield connection


def ask(connection: ResponsesConnection, text: str = "Hello", **fields: Any) -> None:
    connection.response.create(**{"model": "echo", "input": text, **fields})


def answered(connection: ResponsesConnection) -> list[dict[str, Any]]:
    """The events of one response, or of one refusal."""
    events = []
    while not events or (events[-1]["type"] not in ENDS and "status" not in events[-1]):
        events.append(connection.recv().to_dict())
    return events


def turn(connection: ResponsesConnection, text: str = "Hello", **fields: Any) -> dict[str, Any]:
    """A turn that ends well: its response."""
    ask(connection, text, **fields)
    events = answered(connection)
    assert events[-1]["type"] == "response.completed", events[-1]
    response: dict[str, Any] = events[-1]["response"]
    return response


def refusal(connection: ResponsesConnection, **fields: Any) -> tuple[int, str | None, str | None]:
    """A request that is refused: status, code and param."""
    ask(connection, **fields)
    return refused(connection)


def refused(connection: ResponsesConnection) -> tuple[int, str | None, str | None]:
    [event] = answered(connection)
    assert event["type"] == "error"
    assert event["error"]["message"]
    return event["status"], event["error"]["code"], event["error"]["param"]


def said(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item.get("content", ()))


def test_several_responses_on_one_connection_are_each_a_whole_stream(connection: ResponsesConnection) -> None:
    for text in ("one", "two", "three"):
        ask(connection, text)
        events = answered(connection)
        check_stream(events)
        assert said(events[-1]["response"]) == f"seen=1 last={text}"


async def test_the_asynchronous_client_gets_the_same(async_client: AsyncOpenAI) -> None:
    async with async_client.responses.connect() as connection:
        for text in ("one", "two"):
            await connection.response.create(model="echo", input=text)
            async for event in connection:
                if event.type == "response.completed":
                    assert said(event.response.to_dict()) == f"seen=1 last={text}"
                    break


def test_a_turn_is_stored_as_over_http(connection: ResponsesConnection, http: httpx2.Client) -> None:
    response = turn(connection)
    assert ok(http.get(f"/responses/{response['id']}")) == response


def test_requests_sent_while_one_runs_are_answered_in_their_order(
    connection: ResponsesConnection, model: ScriptedModel, tag: str
) -> None:
    ask(connection, f"gate={tag}", model="slow")
    ask(connection, "two")
    ask(connection, "three")
    model.wait_until_reached(tag)
    model.open_gate(tag)
    answers = [answered(connection) for _ in range(3)]
    for events in answers:
        check_stream(events)
    assert [said(events[-1]["response"])[-5:] for events in answers][1:] == ["t=two", "three"]


def test_lanes_run_at_the_same_time_and_are_told_apart(
    connection: ResponsesConnection, model: ScriptedModel, tag: str
) -> None:
    ask(connection, f"gate={tag}", model="slow", stream_id="first")
    model.wait_until_reached(tag)
    ask(connection, "quick", stream_id="second")
    events = [connection.recv().to_dict()]
    while events[-1]["type"] != "response.completed":
        events.append(connection.recv().to_dict())
    model.open_gate(tag)
    rest = answered(connection)
    assert events[-1]["stream_id"] == "second"
    assert rest[-1]["stream_id"] == "first"
    for lane in ("first", "second"):
        check_stream([event for event in (*events, *rest) if event["stream_id"] == lane])


def test_tools_over_a_connection(connection: ResponsesConnection) -> None:
    first = turn(connection, "What weather?", model="tool", tools=[WEATHER], store=False)
    [call] = [item for item in first["output"] if item["type"] == "function_call"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
    asked = {"model": "tool", "tools": [WEATHER], "store": False}
    second = turn(connection, [output], previous_response_id=first["id"], **asked)
    assert said(second) == "The tools said: rain"


def test_a_conversation_grows_over_a_connection(connection: ResponsesConnection, http: httpx2.Client) -> None:
    conversation_id = create(http)
    turn(connection, "one", conversation=conversation_id)
    turn(connection, "two", conversation=conversation_id, store=False)
    assert texts_of(items_of(http, conversation_id)) == ["one", "seen=1 last=one", "two", "seen=3 last=two"]


def test_a_response_that_is_not_stored_is_continued_inside_the_connection(
    connection: ResponsesConnection, http: httpx2.Client
) -> None:
    first = turn(connection, "one", store=False)
    second = turn(connection, "two", store=False, previous_response_id=first["id"])
    third = turn(connection, "three", store=False, previous_response_id=second["id"])
    assert said(third) == "seen=5 last=three"
    assert third["previous_response_id"] == second["id"]
    assert http.get(f"/responses/{third['id']}").status_code == 404


def test_only_the_last_response_of_a_lane_is_remembered(connection: ResponsesConnection) -> None:
    first = turn(connection, "one", store=False)
    turn(connection, "two", store=False, previous_response_id=first["id"])
    missing = (400, "previous_response_not_found", "previous_response_id")
    assert refusal(connection, store=False, previous_response_id=first["id"]) == missing


def test_no_other_connection_continues_it(client: OpenAI, connection: ResponsesConnection) -> None:
    first = turn(connection, store=False)
    with client.responses.connect() as other:
        assert refusal(other, previous_response_id=first["id"])[1] == "previous_response_not_found"
    assert said(turn(connection, "two", previous_response_id=first["id"])) == "seen=3 last=two"


def test_a_stored_response_that_continues_one_that_is_not_stands_by_itself(
    connection: ResponsesConnection, http: httpx2.Client
) -> None:
    first = turn(connection, "one", store=False)
    second = turn(connection, "two", previous_response_id=first["id"])
    assert ok(http.get(f"/responses/{second['id']}")) == second
    inputs = ok(http.get(f"/responses/{second['id']}/input_items", params={"order": "asc"}))["data"]
    assert texts_of(inputs) == ["one", "seen=1 last=one", "two"]
    third = ok(http.post("/responses", json={"model": "echo", "input": "x", "previous_response_id": second["id"]}))
    assert said(third) == "seen=5 last=x"


@pytest.mark.parametrize(
    "failing", [{"model": "status-400"}, {"temperature": 9}, {"model": "nobody"}, {"background": True}]
)
def test_a_failed_continuation_evicts_what_it_continued(
    connection: ResponsesConnection, failing: dict[str, Any]
) -> None:
    first = turn(connection, store=False)
    ask(connection, store=False, previous_response_id=first["id"], **failing)
    assert answered(connection)[-1]["type"] != "response.completed"
    assert refusal(connection, previous_response_id=first["id"])[1] == "previous_response_not_found"


def test_a_fork_that_fails_leaves_the_other_lane_what_it_has(connection: ResponsesConnection) -> None:
    first = turn(connection, "one", store=False, stream_id="main")
    forked = {"store": False, "previous_response_id": first["id"]}
    assert refusal(connection, stream_id="fork", temperature=9, **forked)[0] == 400
    assert said(turn(connection, "two", stream_id="fork", **forked)) == "seen=3 last=two"
    assert said(turn(connection, "three", stream_id="main", **forked)) == "seen=3 last=three"


def test_a_turn_that_generates_nothing_prepares_a_context(connection: ResponsesConnection) -> None:
    warm = turn(connection, "Be brief.", store=False, generate=False)
    assert warm["output"] == []
    assert said(turn(connection, "Hi", store=False, previous_response_id=warm["id"])) == "seen=2 last=Hi"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("{", (400, "invalid_json", None)),
        ("[]", (400, "invalid_type", None)),
        ('{"type": "session.update"}', (400, "invalid_value", "type")),
        ('{"model": "echo", "input": "x"}', (400, "invalid_value", "type")),
        ('{"type": "response.create", "input": "x"}', (400, "missing_required_parameter", "model")),
        ('{"type": "response.create", "model": "echo", "input": "x", "nope": 1}', (400, "unknown_parameter", "nope")),
        (
            '{"type": "response.create", "model": "echo", "input": "x", "background": true}',
            (400, "unsupported_parameter", "background"),
        ),
        (
            '{"type": "response.create", "model": "echo", "input": "x", "moderation": {}}',
            (400, "unsupported_parameter", "moderation"),
        ),
        (
            '{"type": "response.create", "model": "echo", "input": "x", "generate": 1}',
            (400, "invalid_type", "generate"),
        ),
        (
            '{"type": "response.create", "model": "echo", "input": "x", "stream_id": "a b"}',
            (400, "invalid_stream_id", "stream_id"),
        ),
    ],
)
def test_what_cannot_be_served_is_an_error_event_and_the_connection_stays(
    connection: ResponsesConnection, message: str, told: tuple[int, str, str | None]
) -> None:
    connection.send_raw(message)
    assert refused(connection) == told
    assert said(turn(connection, "still here")) == "seen=1 last=still here"


def test_an_error_tells_its_lane_and_its_headers(connection: ResponsesConnection, client: OpenAI, http: httpx2.Client,
                                                 model: ScriptedModel, tag: str) -> None:  # fmt: skip
    conversation_id = create(http)
    ask(connection, f"gate={tag}", model="slow", conversation=conversation_id)
    model.wait_until_reached(tag)
    with client.responses.connect() as other:
        ask(other, conversation=conversation_id, stream_id="mine")
        [event] = answered(other)
    model.open_gate(tag)
    assert (event["status"], event["error"]["code"], event["stream_id"]) == (400, "conversation_locked", "mine")
    assert event["error"]["headers"]["x-should-retry"] == "true"
    assert answered(connection)[-1]["type"] == "response.completed"


def test_a_model_that_fails_midway_is_told_by_events(connection: ResponsesConnection) -> None:
    ask(connection, model="drop-mid")
    events = answered(connection)
    error, failed = events[-2:]
    assert (error["type"], error["error"]["code"]) == ("error", "server_error")
    assert failed["type"] == "response.failed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_a_33rd_lane_is_refused(connection: ResponsesConnection) -> None:
    for number in range(32):
        turn(connection, stream_id=f"lane{number}", store=False)
    assert refusal(connection, stream_id="one-more") == (400, "websocket_stream_limit_reached", "stream_id")
    turn(connection, stream_id="lane0", store=False)
    turn(connection, store=False)


def test_steering_is_refused_with_the_input_given_back(connection: ResponsesConnection) -> None:
    first = turn(connection)
    connection.response.steer(input="Stop.", previous_response_id=first["id"])
    event = connection.recv().to_dict()
    assert (event["type"], event["error"]["code"]) == ("response.steer.failed", "steering_not_supported")
    assert event["steer"] == {"input": "Stop.", "previous_response_id": first["id"]}


def test_obfuscation_is_sent_to_who_asks_for_it(connection: ResponsesConnection) -> None:
    for wanted in (True, False):
        ask(connection, stream_options={"include_obfuscation": wanted})
        deltas = [event for event in answered(connection) if event["type"] == "response.output_text.delta"]
        assert all(("obfuscation" in event) is wanted for event in deltas)
