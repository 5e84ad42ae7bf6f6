"""Function calls over turns: call, output, answer; and what the model server is told of them."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.conversations import add, create, ids_of, items_of, user
from harness.turns import TIME, WEATHER, messages_for, post, sent, stream, text_of, turn
from scripted_model import Answer, ScriptedModel
from scripted_model.answers import delta, finish, text, tool_call
from scripted_model.modes import PARIS, ROME

TOOLS = [WEATHER, TIME]
NO_OUTPUT = "No tool output found for function call {}."
NO_CALL = "No tool call found for function call output with call_id {}."


def output(call_id: str, said: Any = "22 degrees") -> dict[str, Any]:
    """What a client sends back for a call."""
    return {"type": "function_call_output", "call_id": call_id, "output": said}


class Conversation:
    """A history that is a conversation."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http, self._id = http, create(http)

    def take(self, model: str, said: Any, **fields: Any) -> dict[str, Any]:
        return turn(self._http, model, said, conversation=self._id, tools=TOOLS, **fields)

    def refuse(self, model: str, said: Any) -> httpx2.Response:
        return post(self._http, model, said, conversation=self._id, tools=TOOLS)


class Chain:
    """A history that is a chain of responses."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http
        self._last: str | None = None

    def take(self, model: str, said: Any, **fields: Any) -> dict[str, Any]:
        response = turn(self._http, model, said, previous_response_id=self._last, tools=TOOLS, **fields)
        self._last = response["id"]
        return response

    def refuse(self, model: str, said: Any) -> httpx2.Response:
        return post(self._http, model, said, previous_response_id=self._last, tools=TOOLS)


class Replay:
    """A history that the client keeps and sends whole each time, as it came."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http
        self._items: list[Any] = []

    def take(self, model: str, said: Any, **fields: Any) -> dict[str, Any]:
        self._items += [user(said)] if isinstance(said, str) else said
        response = turn(self._http, model, self._items, tools=TOOLS, **fields)
        self._items += response["output"]
        return response

    def refuse(self, model: str, said: Any) -> httpx2.Response:
        items = self._items + ([user(said)] if isinstance(said, str) else said)
        return post(self._http, model, items, tools=TOOLS)


HISTORIES = pytest.mark.parametrize("history", [Conversation, Chain, Replay])


@HISTORIES
def test_call_output_answer(http: httpx2.Client, model: ScriptedModel, tag: str, history: type[Any]) -> None:
    kept = history(http)
    [call] = kept.take("tool", f"Weather in Paris? tag={tag}")["output"]
    answer = kept.take("tool", [output(call["call_id"])])
    assert text_of(answer) == "The tools said: 22 degrees"
    assert sent(model, tag, 2)[1].body["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_paris", "type": "function", "function": {"name": "get_weather", "arguments": PARIS}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_paris", "content": "22 degrees"},
    ]


@HISTORIES
@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["in order", "reversed"])
def test_parallel_calls_share_a_message_and_their_outputs_follow_it(
    http: httpx2.Client, model: ScriptedModel, tag: str, history: type[Any], order: list[int]
) -> None:
    kept = history(http)
    calls = kept.take("parallel-tools", f"Both? tag={tag}")["output"]
    outputs = [output(calls[0]["call_id"], "sun"), output(calls[1]["call_id"], "noon")]
    answer = kept.take("parallel-tools", [outputs[number] for number in order])
    assert text_of(answer) == "The tools said: sun | noon"
    messages = sent(model, tag, 2)[1].body["messages"]
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["call_paris", "call_rome"]
    assert [message.get("tool_call_id") for message in messages[2:]] == ["call_paris", "call_rome"]


@HISTORIES
def test_text_before_a_call_shares_its_message(
    http: httpx2.Client, model: ScriptedModel, tag: str, history: type[Any]
) -> None:
    kept = history(http)
    kept.take("text-and-tool", f"Paris? tag={tag}")
    kept.take("text-and-tool", [output("call_paris")])
    message = sent(model, tag, 2)[1].body["messages"][1]
    assert (message["content"], len(message["tool_calls"])) == ("Let me look.", 1)


@HISTORIES
def test_calls_of_one_turn_after_the_other_stay_messages_of_their_own(
    http: httpx2.Client, model: ScriptedModel, tag: str, history: type[Any]
) -> None:
    model.script(
        (*tool_call(0, "call_1", "get_weather", PARIS), finish("tool_calls")),
        (*tool_call(0, "call_2", "get_weather", ROME), finish("tool_calls")),
        text("Both are sunny."),
        tag=tag,
    )
    kept = history(http)
    kept.take("scripted", f"Paris, then Rome? tag={tag}")
    kept.take("scripted", [output("call_1", "sun")])
    assert text_of(kept.take("scripted", [output("call_2", "rain")])) == "Both are sunny."
    told = [
        [call["id"] for call in message["tool_calls"]] if "tool_calls" in message else message.get("tool_call_id")
        for message in sent(model, tag, 3)[2].body["messages"]
    ]
    assert told == [None, ["call_1"], "call_1", ["call_2"], "call_2"]


@HISTORIES
def test_a_call_id_that_the_model_uses_again_is_replaced_by_another(
    http: httpx2.Client, model: ScriptedModel, tag: str, history: type[Any]
) -> None:
    kept = history(http)
    names = []
    for said in ("sun", "rain"):
        [call] = kept.take("tool", f"Weather? tag={tag}")["output"]
        names.append(call["call_id"])
        kept.take("tool", [output(call["call_id"], said)])
    assert names[0] == "call_paris"
    assert names[1] != "call_paris", "an output must be able to name its call, and no other"
    messages = sent(model, tag, 4)[3].body["messages"]
    assert [message["content"] for message in messages if message["role"] == "tool"] == ["sun", "rain"]


@HISTORIES
def test_thoughts_between_calls_do_not_reach_the_model_server(
    http: httpx2.Client, model: ScriptedModel, tag: str, history: type[Any]
) -> None:
    kept = history(http)
    kept.take("reasoning-tool", f"Weather? tag={tag}")
    assert text_of(kept.take("reasoning-tool", [output("call_paris")])) == "The tools said: 22 degrees"
    assert [message["role"] for message in sent(model, tag, 2)[1].body["messages"]] == ["user", "assistant", "tool"]


@HISTORIES
def test_a_missing_output_is_refused_before_the_model_is_asked(
    http: httpx2.Client, model: ScriptedModel, tag: str, history: type[Any]
) -> None:
    kept = history(http)
    kept.take("tool", "Weather?")
    message = refused(kept.refuse("tool", f"Well? tag={tag}"), 400, None, "input")
    assert message == NO_OUTPUT.format("call_paris")
    assert model.requests(tag=tag) == []
    assert text_of(kept.take("tool", [output("call_paris")])) == "The tools said: 22 degrees"


@HISTORIES
def test_one_missing_output_of_two_is_refused(http: httpx2.Client, history: type[Any]) -> None:
    kept = history(http)
    kept.take("parallel-tools", "Both?")
    answer = kept.refuse("parallel-tools", [output("call_paris")])
    assert refused(answer, 400, None, "input") == NO_OUTPUT.format("call_rome")


@HISTORIES
def test_an_output_without_a_call_is_refused_before_the_model_is_asked(
    http: httpx2.Client, model: ScriptedModel, tag: str, history: type[Any]
) -> None:
    kept = history(http)
    kept.take("echo", "Hello")
    answer = kept.refuse("echo", [output("call_unknown"), user(f"tag={tag}")])
    assert refused(answer, 400, None, "input") == NO_CALL.format("call_unknown")
    assert model.requests(tag=tag) == []


def test_a_second_output_for_one_call_is_refused(http: httpx2.Client) -> None:
    kept = Conversation(http)
    kept.take("tool", "Weather?")
    answer = kept.refuse("tool", [output("call_paris"), output("call_paris")])
    assert refused(answer, 400, None, "input") == "The tool call with call_id call_paris has an output already."


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("wrong", [[user("Well?")], [output("call_other")]], ids=["missing", "orphan"])
def test_unpaired_items_leave_nothing_behind_and_no_lock(
    http: httpx2.Client, streamed: bool, wrong: list[dict[str, Any]]
) -> None:
    conversation_id = create(http)
    turn(http, "tool", "Weather?", conversation=conversation_id, tools=TOOLS)
    before = items_of(http, conversation_id)
    newest = ok(http.get("/responses", params={"limit": 1}))["data"][0]["id"]
    answer = post(http, "tool", wrong, conversation=conversation_id, tools=TOOLS, stream=streamed)
    refused(answer, 400, None, "input")
    assert items_of(http, conversation_id) == before
    assert ok(http.get("/responses", params={"limit": 1}))["data"][0]["id"] == newest
    answer_ = turn(http, "tool", [output("call_paris")], conversation=conversation_id, tools=TOOLS)
    assert text_of(answer_) == "The tools said: 22 degrees"


def test_a_call_left_open_is_mended_by_deleting_it(http: httpx2.Client) -> None:
    conversation_id = create(http)
    turn(http, "tool", "Weather?", conversation=conversation_id, tools=TOOLS)
    call = items_of(http, conversation_id)[-1]
    ok(http.delete(f"/conversations/{conversation_id}/items/{call['id']}"))
    assert text_of(turn(http, "echo", "Well?", conversation=conversation_id)) == "seen=2 last=Well?"


def test_a_call_left_open_is_mended_by_adding_its_output(http: httpx2.Client) -> None:
    conversation_id = create(http)
    turn(http, "tool", "Weather?", conversation=conversation_id, tools=TOOLS)
    add(http, conversation_id, [output("call_paris", "added")])
    response = turn(http, "tool", [], conversation=conversation_id, tools=TOOLS)
    assert text_of(response) == "The tools said: added"


def test_an_output_that_was_added_late_stands_behind_its_call(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    turn(http, "tool", "Weather?", conversation=conversation_id, tools=TOOLS)
    add(http, conversation_id, [user("Meanwhile"), output("call_paris", "late")])
    turn(http, "tool", f"tag={tag}", conversation=conversation_id, tools=TOOLS)
    assert [message["role"] for message in messages_for(model, tag)] == ["user", "assistant", "tool", "user", "user"]


def test_an_output_is_kept_with_an_id_and_a_status(http: httpx2.Client) -> None:
    conversation_id = create(http)
    turn(http, "tool", "Weather?", conversation=conversation_id, tools=TOOLS)
    turn(http, "tool", [output("call_paris")], conversation=conversation_id, tools=TOOLS)
    kept = items_of(http, conversation_id)[2]
    assert kept["id"].startswith("fc_")
    assert kept == {"id": kept["id"], "status": "completed", **output("call_paris")}
    assert len(set(ids_of(items_of(http, conversation_id)))) == 4


def test_arguments_that_are_no_json_are_kept_as_the_model_wrote_them_and_go_back_in_an_object(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    kept = Conversation(http)
    response = kept.take("tool-bad-arguments", f"Weather? tag={tag}")
    assert response["output"][0]["arguments"] == '{"city":'
    kept.take("tool-bad-arguments", [output("call_bad", "bad arguments")])
    told = sent(model, tag, 2)[1].body["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(told) == {"malformed": '{"city":'}


def test_a_call_that_was_cut_off_is_kept_but_needs_no_output(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    model.script((delta(content="Hm"), *tool_call(0, "call_1", "get_weather", '{"ci'), finish("length")), tag=tag)
    response = stream(http, "scripted", f"tag={tag}", conversation=conversation_id, tools=TOOLS).response
    assert items_of(http, conversation_id)[1:] == response["output"]
    assert text_of(turn(http, "echo", "And?", conversation=conversation_id)) == "seen=3 last=And?"


def test_calls_whose_pieces_come_in_turns_with_text_between_and_blanks_behind_come_out_whole(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    paris = tool_call(0, "call_paris", "get_weather", PARIS[:5], PARIS[5:], "")
    rome = tool_call(1, "call_rome", "get_weather", ROME[:5], "", ROME[5:], "\n")
    steps = [step for pair in zip(paris, rome[:4], strict=True) for step in pair] + [rome[4]]
    steps.insert(3, delta(content="Both."))
    model.script(Answer((*steps, finish("tool_calls"))), Answer(text("Sunny.")), tag=tag)
    told = stream(http, "scripted", f"tag={tag}", tools=TOOLS)
    shown = [(item["type"], item.get("arguments"), item["status"]) for item in told.response["output"]]
    assert shown == [
        ("function_call", PARIS, "completed"),
        ("function_call", ROME, "completed"),
        ("message", None, "completed"),
    ]
    outputs = [output("call_rome"), output("call_paris")]
    assert text_of(turn(http, "scripted", [user(f"tag={tag}"), *told.response["output"], *outputs])) == "Sunny."
