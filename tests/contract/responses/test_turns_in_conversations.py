"""Turns in a conversation: what the model is given is what the items API says, and what the turn adds is kept there."""

from __future__ import annotations

import httpx2
import pytest

from harness.answers import ok
from harness.conversations import add, create, ids_of, items_of, texts_of, user
from harness.turns import TIME, WEATHER, input_items, messages_for, sent, stream, text_of, turn
from scripted_model import ScriptedModel

ASK = {"plain": turn, "streamed": lambda *args, **fields: stream(*args, **fields).response}


def said(http: httpx2.Client, conversation_id: str) -> list[tuple[str, str]]:
    """Role and text of every message of a conversation."""
    return [(item["role"], item["content"][0]["text"]) for item in items_of(http, conversation_id)]


@pytest.mark.parametrize("form", [str, lambda conversation_id: {"id": conversation_id}], ids=["id", "object"])
@pytest.mark.parametrize("way", ASK)
def test_a_conversation_is_named_by_its_id_or_an_object_and_echoed_as_an_object(
    http: httpx2.Client, form: object, way: str
) -> None:
    conversation_id = create(http)
    response = ASK[way](http, "echo", "Hello", conversation=form(conversation_id))  # type: ignore[operator]
    assert response["conversation"] == {"id": conversation_id}
    assert response["previous_response_id"] is None


@pytest.mark.parametrize("way", ASK)
def test_a_turn_without_a_conversation_has_no_such_key(http: httpx2.Client, way: str) -> None:
    assert "conversation" not in ASK[way](http, "echo", "Hello")


@pytest.mark.parametrize("way", ASK)
def test_a_turn_appends_its_input_then_its_output_with_the_ids_that_it_showed(http: httpx2.Client, way: str) -> None:
    conversation_id = create(http, [user("First")])
    response = ASK[way](http, "echo", "Hello", conversation=conversation_id)
    assert said(http, conversation_id) == [("user", "First"), ("user", "Hello"), ("assistant", "seen=2 last=Hello")]
    _, question, answer = items_of(http, conversation_id)
    assert answer == response["output"][0]
    assert question == input_items(http, response["id"])[-1]
    assert question["status"] == "completed"


@pytest.mark.parametrize("way", ASK)
@pytest.mark.parametrize(
    "mode", ["tool", "parallel-tools", "text-and-tool", "reasoning-tool", "reasoning", "refusal", "length", "logprobs"]
)
def test_every_kind_of_output_is_kept_as_it_was_shown(http: httpx2.Client, mode: str, way: str) -> None:
    conversation_id = create(http)
    tools = [WEATHER, TIME] if "tool" in mode else []
    response = ASK[way](http, mode, "Hello", conversation=conversation_id, tools=tools)
    everything = {"include[]": "message.output_text.logprobs"}
    assert items_of(http, conversation_id, **everything)[1:] == response["output"]


def test_ids_inherit_the_conversations_partition(http: httpx2.Client) -> None:
    conversation_id = create(http)
    response = turn(http, "echo", "Hello", conversation=conversation_id)
    ids = [response["id"], *ids_of(items_of(http, conversation_id))]
    assert {name.partition("_")[2][:8] for name in ids} == {conversation_id.removeprefix("conv_")[:8]}


def test_the_model_is_given_the_whole_conversation_in_order(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http, [{"role": "system", "content": "Be kind."}, user("One")])
    turn(http, "echo", "Two", conversation=conversation_id)
    turn(http, "echo", f"Three tag={tag}", conversation=conversation_id)
    assert messages_for(model, tag) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "One"},
        {"role": "user", "content": "Two"},
        {"role": "assistant", "content": "seen=3 last=Two"},
        {"role": "user", "content": f"Three tag={tag}"},
    ]


@pytest.mark.parametrize("count", [30, 3000])
def test_every_preloaded_item_counts_not_the_first_page_alone(
    http: httpx2.Client, model: ScriptedModel, tag: str, count: int
) -> None:
    conversation_id = create(http, [user(f"item {number}") for number in range(count)])
    response = turn(http, "echo", f"tag={tag}", conversation=conversation_id)
    told = [message["content"] for message in messages_for(model, tag)]
    assert told == [*(f"item {number}" for number in range(count)), f"tag={tag}"]
    assert text_of(response).startswith(f"seen={count + 1} ")


def test_items_added_between_turns_count(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    conversation_id = create(http)
    turn(http, "echo", "One", conversation=conversation_id)
    add(http, conversation_id, [user("Added"), {"role": "assistant", "content": "Answered"}])
    turn(http, "echo", f"tag={tag}", conversation=conversation_id)
    assert [message["content"] for message in messages_for(model, tag)][2:] == ["Added", "Answered", f"tag={tag}"]


def test_items_deleted_between_turns_do_not_count(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    conversation_id = create(http, [user("Secret"), user("Kept")])
    turn(http, "echo", "One", conversation=conversation_id)
    secret, _, question, answer = ids_of(items_of(http, conversation_id))
    for item_id in (secret, question):
        ok(http.delete(f"/conversations/{conversation_id}/items/{item_id}"))
    turn(http, "echo", f"tag={tag}", conversation=conversation_id)
    told = [message["content"] for message in messages_for(model, tag)]
    assert told == ["Kept", "seen=3 last=One", f"tag={tag}"]
    assert answer in ids_of(items_of(http, conversation_id))


def test_what_the_model_is_given_is_what_the_items_api_said_just_before(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http, [user(f"item {number}") for number in range(47)])
    for item_id in ids_of(items_of(http, conversation_id))[::3]:
        ok(http.delete(f"/conversations/{conversation_id}/items/{item_id}"))
    add(http, conversation_id, [user("late")])
    expected = texts_of(items_of(http, conversation_id))
    turn(http, "echo", f"tag={tag}", conversation=conversation_id)
    assert [message["content"] for message in messages_for(model, tag)][:-1] == expected


@pytest.mark.parametrize("way", ASK)
@pytest.mark.parametrize("count", [21, 150])
def test_a_turn_of_more_than_20_items_is_kept_whole(http: httpx2.Client, way: str, count: int) -> None:
    conversation_id = create(http)
    response = ASK[way](http, "echo", [user(f"item {n}") for n in range(count)], conversation=conversation_id)
    assert text_of(response).startswith(f"seen={count} ")
    kept = texts_of(items_of(http, conversation_id))
    assert kept == [*(f"item {number}" for number in range(count)), text_of(response)]


def test_instructions_are_not_kept(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    conversation_id = create(http)
    first = turn(http, "echo", "One", conversation=conversation_id, instructions="Be brief.")
    turn(http, "echo", f"Two tag={tag}", conversation=conversation_id)
    assert [message["role"] for message in messages_for(model, tag)] == ["user", "assistant", "user"]
    assert said(http, conversation_id)[0] == ("user", "One")
    assert [item["role"] for item in input_items(http, first["id"])] == ["user"]
    assert first["instructions"] == "Be brief."


@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_and_developer_items_are_kept_with_their_role(
    http: httpx2.Client, model: ScriptedModel, tag: str, role: str
) -> None:
    conversation_id = create(http)
    items = [{"role": role, "content": "Be brief."}, user("One")]
    turn(http, "echo", items, conversation=conversation_id)
    turn(http, "echo", f"tag={tag}", conversation=conversation_id)
    assert said(http, conversation_id)[0] == (role, "Be brief.")
    assert messages_for(model, tag)[0] == {"role": "system", "content": "Be brief."}


def test_the_same_text_twice_stays_twice(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    conversation_id = create(http, [user("Same"), user("Same")])
    for _ in range(2):
        turn(http, "echo", "Same", conversation=conversation_id)
    turn(http, "echo", [user("Same"), user("Same"), user(f"tag={tag}")], conversation=conversation_id)
    told = [message["content"] for message in messages_for(model, tag) if message["role"] == "user"]
    assert told == [*["Same"] * 6, f"tag={tag}"]
    assert [text for role, text in said(http, conversation_id) if role == "user"] == told


@pytest.mark.parametrize("empty", [[], ""], ids=["list", "string"])
def test_an_empty_input_lets_the_model_answer_the_conversation(http: httpx2.Client, empty: object) -> None:
    conversation_id = create(http, [user("Hello")])
    response = turn(http, "echo", empty, conversation=conversation_id)
    assert text_of(response) == "seen=1 last=Hello"
    assert said(http, conversation_id) == [("user", "Hello"), ("assistant", "seen=1 last=Hello")]


def test_metadata_of_the_conversation_is_untouched_by_turns(http: httpx2.Client) -> None:
    conversation_id = create(http, metadata={"topic": "x"})
    turn(http, "echo", "Hello", conversation=conversation_id, metadata={"turn": "1"})
    assert ok(http.get(f"/conversations/{conversation_id}"))["metadata"] == {"topic": "x"}


def test_an_incomplete_answer_is_kept_as_incomplete_and_continued(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    turn(http, "length", "Tell me a story", conversation=conversation_id)
    assert items_of(http, conversation_id)[1]["status"] == "incomplete"
    turn(http, "echo", f"Go on tag={tag}", conversation=conversation_id)
    assert messages_for(model, tag)[1] == {"role": "assistant", "content": "Once upon "}


def test_a_response_that_is_not_stored_appends_to_the_conversation_all_the_same(http: httpx2.Client) -> None:
    conversation_id = create(http)
    for way in ASK.values():
        response = way(http, "echo", "Hello", conversation=conversation_id, store=False)
        assert response["store"] is False
        assert items_of(http, conversation_id)[-1] == response["output"][0]
    assert len(items_of(http, conversation_id)) == 4


def test_turns_of_different_models_share_a_conversation(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    conversation_id = create(http)
    turn(http, "reasoning", "One", conversation=conversation_id)
    turn(http, "refusal", "Two", conversation=conversation_id)
    turn(http, "echo", f"tag={tag}", conversation=conversation_id)
    said_before = [message["content"] for message in messages_for(model, tag) if message["role"] == "assistant"]
    assert said_before == ["42", "I'm sorry, I can't help with that."]


def test_images_in_a_conversation_reach_the_model_though_listings_hide_them(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    url = "data:image/png;base64,iVBORw0KGgo="
    conversation_id = create(http, [user([{"type": "input_image", "image_url": url}])])
    turn(http, "echo", f"tag={tag}", conversation=conversation_id)
    assert messages_for(model, tag)[0]["content"] == [{"type": "image_url", "image_url": {"url": url}}]
    assert items_of(http, conversation_id)[0]["content"][0]["image_url"] is None


def test_items_that_chat_completions_do_not_know_are_kept_and_left_out(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    picture = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AA"}
    conversation_id = create(http, [user("One"), picture])
    turn(http, "echo", f"tag={tag}", conversation=conversation_id)
    assert [message["content"] for message in messages_for(model, tag)] == ["One", f"tag={tag}"]
    assert items_of(http, conversation_id)[1]["id"] == "ig_1"


def test_a_conversation_that_ran_many_turns_pages_in_order(http: httpx2.Client) -> None:
    conversation_id = create(http)
    for number in range(12):
        turn(http, "echo", f"q{number}", conversation=conversation_id)
    expected = [text for number in range(12) for text in (f"q{number}", f"seen={2 * number + 1} last=q{number}")]
    for limit in (1, 2, 7):
        assert texts_of(items_of(http, conversation_id, limit=limit)) == expected
        assert texts_of(items_of(http, conversation_id, limit=limit, order="desc")) == expected[::-1]


def test_the_model_is_asked_once_for_each_turn_of_a_conversation(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)
    for _ in range(3):
        turn(http, "echo", f"tag={tag}", conversation=conversation_id)
    sent(model, tag, 3)
