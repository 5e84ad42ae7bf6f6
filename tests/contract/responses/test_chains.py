"""Chains: turns that continue an earlier response."""

from __future__ import annotations

import httpx2
import pytest

from harness.answers import ok, refused
from harness.conversations import create, items_of, user
from harness.turns import WEATHER, input_items, messages_for, post, stream, text_of, turn
from scripted_model import ScriptedModel

UNKNOWN = "resp_" + "0" * 50


def chain(http: httpx2.Client, length: int) -> list[str]:
    """The ids of responses, each of which continues the one before; their users say ``q0``, ``q1``, …"""
    ids: list[str] = []
    for number in range(length):
        ids.append(turn(http, "echo", f"q{number}", previous_response_id=ids[-1] if ids else None)["id"])
    return ids


def exchange(length: int) -> list[dict[str, str]]:
    """What was said in such a chain."""
    said = []
    for number in range(length):
        said.append({"role": "user", "content": f"q{number}"})
        said.append({"role": "assistant", "content": f"seen={2 * number + 1} last=q{number}"})
    return said


@pytest.mark.parametrize("depth", [1, 2, 3, 10, 50])
def test_the_model_is_given_the_whole_chain_in_order(
    http: httpx2.Client, model: ScriptedModel, tag: str, depth: int
) -> None:
    last = chain(http, depth)[-1]
    turn(http, "echo", f"tag={tag}", previous_response_id=last)
    assert messages_for(model, tag) == [*exchange(depth), {"role": "user", "content": f"tag={tag}"}]


def test_the_response_before_is_echoed(http: httpx2.Client) -> None:
    first = turn(http)
    second = turn(http, previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    assert "conversation" not in second
    assert stream(http, previous_response_id=first["id"]).response["previous_response_id"] == first["id"]


def test_a_chain_shares_its_partition(http: httpx2.Client) -> None:
    assert len({response_id[5:13] for response_id in chain(http, 3)}) == 1


def test_a_response_can_be_continued_in_two_ways(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    [root] = chain(http, 1)
    left = turn(http, "echo", "left", previous_response_id=root)
    turn(http, "echo", "right", previous_response_id=root)
    turn(http, "echo", f"tag={tag}", previous_response_id=left["id"])
    told = [message["content"] for message in messages_for(model, tag)]
    assert told == ["q0", "seen=1 last=q0", "left", "seen=3 last=left", f"tag={tag}"]


def test_instructions_are_not_inherited(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    first = turn(http, "echo", "One", instructions="Be brief.")
    second = turn(http, "echo", f"tag={tag}", previous_response_id=first["id"])
    assert second["instructions"] is None
    assert [message["role"] for message in messages_for(model, tag)] == ["user", "assistant", "user"]


def test_tools_and_parameters_are_not_inherited(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    first = turn(http, "echo", "One", tools=[WEATHER], temperature=0.5, metadata={"a": "b"})
    second = turn(http, "echo", f"tag={tag}", previous_response_id=first["id"])
    assert (second["tools"], second["temperature"], second["metadata"]) == ([], 1.0, {})
    assert model.requests(tag=tag)[0].body.keys() == {"model", "messages"}


def test_system_items_of_the_input_are_inherited(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    first = turn(http, "echo", [{"role": "system", "content": "Be kind."}, user("One")])
    turn(http, "echo", f"tag={tag}", previous_response_id=first["id"])
    assert messages_for(model, tag)[0] == {"role": "system", "content": "Be kind."}


def test_a_chain_goes_on_from_a_response_that_was_made_in_a_conversation(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http, [user("Preloaded")])
    turn(http, "echo", "One", conversation=conversation_id)
    second = turn(http, "echo", "Two", conversation=conversation_id)
    turn(http, "echo", "Three", conversation=conversation_id)
    before = items_of(http, conversation_id)
    turn(http, "echo", f"tag={tag}", previous_response_id=second["id"])
    assert [message["content"] for message in messages_for(model, tag)] == [
        "Preloaded", "One", "seen=2 last=One", "Two", "seen=4 last=Two", f"tag={tag}",
    ]  # fmt: skip
    assert items_of(http, conversation_id) == before


def test_a_chain_off_a_conversation_goes_on_for_many_turns(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    conversation_id = create(http, [user("Preloaded")])
    last = turn(http, "echo", "One", conversation=conversation_id)["id"]
    for _ in range(3):
        last = turn(http, "echo", "More", previous_response_id=last)["id"]
    turn(http, "echo", f"tag={tag}", previous_response_id=last)
    assert len(messages_for(model, tag)) == 1 + 2 * 4 + 1


@pytest.mark.parametrize("empty", [[], ""], ids=["list", "string"])
def test_an_empty_input_lets_the_model_go_on(http: httpx2.Client, empty: object) -> None:
    [first] = chain(http, 1)
    assert text_of(turn(http, "echo", empty, previous_response_id=first)) == "seen=2 last=q0"


def test_an_incomplete_response_can_be_continued(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    first = turn(http, "length", "Tell me a story")
    turn(http, "echo", f"tag={tag}", previous_response_id=first["id"])
    assert messages_for(model, tag)[1] == {"role": "assistant", "content": "Once upon "}


@pytest.mark.parametrize("streamed", [False, True])
def test_an_unknown_response_cannot_be_continued(http: httpx2.Client, streamed: bool) -> None:
    answer = post(http, previous_response_id=UNKNOWN, stream=streamed)
    message = refused(answer, 400, "previous_response_not_found", "previous_response_id")
    assert UNKNOWN in message


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_deleted_ancestor_is_named_by_who_continues_the_chain(
    http: httpx2.Client, model: ScriptedModel, tag: str, position: int
) -> None:
    ids = chain(http, 3)
    ok(http.delete(f"/responses/{ids[position]}"))
    answer = post(http, "echo", f"tag={tag}", previous_response_id=ids[-1])
    message = refused(answer, 400, "previous_response_not_found", "previous_response_id")
    assert message == f"Previous response with id '{ids[position]}' not found."
    assert model.requests(tag=tag) == []


def test_a_response_that_was_not_stored_cannot_be_continued(http: httpx2.Client) -> None:
    response = turn(http, store=False)
    answer = post(http, previous_response_id=response["id"])
    refused(answer, 400, "previous_response_not_found", "previous_response_id")


def test_a_failed_response_cannot_be_continued(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    failed = stream(http, "error-mid").response
    answer = post(http, "echo", f"tag={tag}", previous_response_id=failed["id"])
    message = refused(answer, 400, None, "previous_response_id")
    assert "failed" in message
    assert model.requests(tag=tag) == []


def test_a_running_response_cannot_be_continued(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    body = {"model": "slow", "input": f"gate={tag}", "stream": True}
    with http.stream("POST", "/responses", json=body) as running:
        lines = running.iter_lines()
        created = next(line for line in lines if line.startswith("data:"))
        response_id = httpx2.Response(200, text=created.removeprefix("data: ")).json()["response"]["id"]
        answer = post(http, previous_response_id=response_id)
        model.open_gate(tag)
        assert "response.completed" in list(lines)[-3]
    refused(answer, 400, None, "previous_response_id")
    assert text_of(turn(http, previous_response_id=response_id)) == "seen=3 last=Hello"


def test_the_chain_is_read_as_input_items_of_the_last_response(http: httpx2.Client) -> None:
    ids = chain(http, 3)
    said = [(item["role"], item["content"][0]["text"]) for item in input_items(http, ids[-1])]
    assert said == [(message["role"], message["content"]) for message in exchange(3)[:-1]]


def test_the_same_text_twice_stays_twice_in_a_chain(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    first = turn(http, "echo", "Same")
    second = turn(http, "echo", "Same", previous_response_id=first["id"])
    turn(http, "echo", f"tag={tag}", previous_response_id=second["id"])
    assert [m["content"] for m in messages_for(model, tag) if m["role"] == "user"] == ["Same", "Same", f"tag={tag}"]


def test_a_response_of_a_stream_is_continued_like_any_other(http: httpx2.Client) -> None:
    first = stream(http, "echo", "One").response
    second = stream(http, "echo", "Two", previous_response_id=first["id"]).response
    assert text_of(second) == "seen=3 last=Two"
