"""Turns at the same time: one per conversation, any number beside each other, and changes underneath a running one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from harness.answers import ok, refused
from harness.conversations import add, create, ids_of, items_of, texts_of, user
from harness.event_stream import check_stream, read_frames
from harness.server import StackServer
from harness.turns import checked, input_items, messages_for, post, request, text_of, turn
from scripted_model import ScriptedModel

STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
PARALLEL = 64


@pytest.fixture
def pool(model: ScriptedModel, tag: str) -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that wait at the gate ``tag``, which is opened in the end."""
    with ThreadPoolExecutor(8) as pool:
        yield pool
        model.open_gate(tag)


class SlowTurn:
    """A turn that waits at its gate, ``tag``, with the model having said ``before``."""

    def __init__(self, pool: ThreadPoolExecutor, http: httpx2.Client, model: ScriptedModel, tag: str, **fields: object):
        self._http, self._model, self._tag = http, model, tag
        self._streamed = bool(fields.get("stream"))
        self._answer: Future[httpx2.Response] = pool.submit(post, http, "slow", f"gate={tag} tag={tag}", **fields)
        model.wait_until_reached(tag)

    @property
    def response_id(self) -> str:
        """The id of the response in progress."""
        newest = ok(self._http.get("/responses", params={"limit": 1, "model": "slow"}))["data"][0]
        assert newest["status"] == "in_progress"
        response_id: str = newest["id"]
        return response_id

    def finish(self) -> httpx2.Response:
        """Let the model say the rest; the answer."""
        self._model.open_gate(self._tag)
        return self._answer.result()

    def finished(self, *, stored: bool = True) -> dict[str, object]:
        """The final response."""
        answer = self.finish()
        return checked(self._http, answer.content, stored=stored).response if self._streamed else ok(answer)


@STREAMED
@pytest.mark.parametrize("store", [True, False], ids=["stored", "not stored"])
def test_a_second_turn_on_a_conversation_is_refused_before_the_model_is_asked(
    http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, streamed: bool, store: bool
) -> None:
    conversation_id = create(http, [user("Before")])
    running = SlowTurn(pool, http, model, tag, conversation=conversation_id, stream=streamed, store=store)
    for second_streamed in (False, True):
        answer = post(http, "echo", f"tag=second{tag}", conversation=conversation_id, stream=second_streamed)
        message = refused(answer, 400, "conversation_locked", "conversation")
        assert conversation_id in message
        assert answer.headers["x-should-retry"] == "true"
        assert int(answer.headers["retry-after-ms"]) > 0
    response = running.finished(stored=store)
    assert text_of(response) == "before after"
    assert model.requests(tag=f"second{tag}") == []
    assert texts_of(items_of(http, conversation_id)) == ["Before", f"gate={tag} tag={tag}", "before after"]
    turn(http, "echo", "Not locked", conversation=conversation_id)


def test_a_refused_second_turn_leaves_no_response(
    http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    conversation_id = create(http)
    running = SlowTurn(pool, http, model, tag, conversation=conversation_id)
    newest = running.response_id
    refused(post(http, conversation=conversation_id), 400, "conversation_locked", "conversation")
    assert ok(http.get("/responses", params={"limit": 1}))["data"][0]["id"] == newest
    running.finish()


def test_the_client_waits_for_the_lock_and_then_gets_its_turn(
    server: StackServer, http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    conversation_id = create(http)
    running = SlowTurn(pool, http, model, tag, conversation=conversation_id)
    refusals: list[int] = []

    def opened_by_the_first_refusal(answer: httpx2.Response) -> None:
        if answer.status_code == 400:
            refusals.append(answer.status_code)
            model.open_gate(tag)

    hooks = {"response": [opened_by_the_first_refusal]}
    with server.client(max_retries=5, http_client=httpx2.Client(event_hooks=hooks)) as client:
        response = client.responses.create(model="echo", input="Second", conversation=conversation_id)
    assert refusals
    assert response.output_text == "seen=3 last=Second"
    running.finish()


def test_the_client_raises_the_lock_as_a_bad_request(
    client: OpenAI, http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    conversation_id = create(http)
    running = SlowTurn(pool, http, model, tag, conversation=conversation_id)
    with pytest.raises(openai.BadRequestError) as locked:
        client.responses.create(model="echo", input="Second", conversation=conversation_id)
    assert locked.value.code == "conversation_locked"
    running.finish()


async def test_of_many_turns_at_once_on_one_conversation_each_wins_or_is_locked(
    async_client: AsyncOpenAI, http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    conversation_id = create(http)

    async def take(number: int) -> str | None:
        words = f"q{number} tag={tag}"
        try:
            made = await async_client.responses.create(model="echo", input=words, conversation=conversation_id)
        except openai.BadRequestError as error:
            return None if error.code == "conversation_locked" else str(error)
        return made.output_text

    answers = await asyncio.gather(*(take(number) for number in range(20)))
    won = [text for text in answers if text is not None]
    kept = texts_of(items_of(http, conversation_id))
    assert won
    assert sorted(kept[1::2]) == sorted(won)
    assert all(answer.endswith(f"last={question}") for question, answer in zip(kept[::2], kept[1::2], strict=True))
    assert len(model.requests(tag=tag)) == len(won)


@STREAMED
async def test_many_conversations_at_once_do_not_mix(
    async_client: AsyncOpenAI, http: httpx2.Client, streamed: bool
) -> None:
    async def talk(number: int) -> tuple[str, list[str]]:
        conversation = await async_client.conversations.create()
        said = []
        for turn_number in range(3):
            words = f"c{number}t{turn_number}"
            if streamed:
                stream = await async_client.responses.create(
                    model="echo", input=words, conversation=conversation.id, stream=True
                )
                events = [event async for event in stream]
                check_stream([event.to_dict() for event in events])
                answer = events[-1].response.output_text
            else:
                made = await async_client.responses.create(model="echo", input=words, conversation=conversation.id)
                answer = made.output_text
            assert answer == f"seen={2 * turn_number + 1} last={words}"
            said += [words, answer]
        return conversation.id, said

    for conversation_id, said in await asyncio.gather(*(talk(number) for number in range(PARALLEL))):
        assert texts_of(items_of(http, conversation_id)) == said


async def test_many_streams_at_once_are_each_whole(server: StackServer, http: httpx2.Client, tag: str) -> None:
    async with httpx2.AsyncClient(base_url=server.base_url, timeout=60) as client:
        answers = await asyncio.gather(
            *(
                client.post("/responses", json=request("echo", f"s{number} tag={tag}", stream=True))
                for number in range(PARALLEL)
            )
        )
    texts = {text_of(checked(http, answer.content).response) for answer in answers}
    assert texts == {f"seen=1 last=s{number} tag={tag}" for number in range(PARALLEL)}


@STREAMED
def test_items_added_during_a_turn_stand_before_what_it_adds_and_were_not_seen_by_the_model(
    http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, streamed: bool
) -> None:
    conversation_id = create(http, [user("Before")])
    running = SlowTurn(pool, http, model, tag, conversation=conversation_id, stream=streamed)
    add(http, conversation_id, [user("Meanwhile 1"), user("Meanwhile 2")])
    response = running.finished()
    mine = f"gate={tag} tag={tag}"
    kept = texts_of(items_of(http, conversation_id))
    assert kept == ["Before", "Meanwhile 1", "Meanwhile 2", mine, "before after"]
    assert [message["content"] for message in messages_for(model, tag)] == ["Before", mine]
    assert texts_of(input_items(http, str(response["id"]))) == ["Before", mine]


def test_items_can_be_read_and_deleted_during_a_turn(
    http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    conversation_id = create(http, [user("Before"), user("Kept")])
    running = SlowTurn(pool, http, model, tag, conversation=conversation_id)
    first, _ = ids_of(items_of(http, conversation_id))
    ok(http.delete(f"/conversations/{conversation_id}/items/{first}"))
    running.finished()
    assert texts_of(items_of(http, conversation_id)) == ["Kept", f"gate={tag} tag={tag}", "before after"]


def test_an_item_added_during_a_turn_under_an_id_of_its_input_fails_the_turn_and_unlocks(
    http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    conversation_id = create(http)
    items = [user("Mine", id="msg_same"), user(f"gate={tag} tag={tag}")]
    answer = pool.submit(post, http, "slow", items, conversation=conversation_id)
    model.wait_until_reached(tag)
    add(http, conversation_id, [user("Theirs", id="msg_same")])
    model.open_gate(tag)
    refused(answer.result(), 400, None, "input")
    assert texts_of(items_of(http, conversation_id)) == ["Theirs"]
    turn(http, "echo", "Not locked", conversation=conversation_id)


@STREAMED
def test_a_conversation_deleted_during_a_turn_that_is_not_stored_stays_deleted(
    http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, streamed: bool
) -> None:
    conversation_id = create(http)
    running = SlowTurn(pool, http, model, tag, conversation=conversation_id, stream=streamed, store=False)
    ok(http.delete(f"/conversations/{conversation_id}"))
    assert text_of(running.finished(stored=False)) == "before after"
    refused(http.get(f"/conversations/{conversation_id}"), 404)


@STREAMED
def test_a_conversation_deleted_during_a_turn_stays_deleted_and_the_turn_ends_well(
    http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, streamed: bool
) -> None:
    conversation_id = create(http, [user("Before")])
    running = SlowTurn(pool, http, model, tag, conversation=conversation_id, stream=streamed)
    ok(http.delete(f"/conversations/{conversation_id}"))
    response = running.finished()
    assert (text_of(response), response["status"]) == ("before after", "completed")
    assert ok(http.get(f"/responses/{response['id']}")) == response
    refused(http.get(f"/conversations/{conversation_id}/items"), 404)


@STREAMED
def test_a_response_deleted_during_its_turn_stays_deleted_and_its_turn_is_kept(
    http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, streamed: bool
) -> None:
    conversation_id = create(http)
    running = SlowTurn(pool, http, model, tag, conversation=conversation_id, stream=streamed)
    response_id = running.response_id
    ok(http.delete(f"/responses/{response_id}"))
    response = running.finished(stored=False)
    assert (response["id"], text_of(response)) == (response_id, "before after")
    refused(http.get(f"/responses/{response_id}"), 404)
    assert texts_of(items_of(http, conversation_id))[1] == "before after"
    turn(http, "echo", "Not locked", conversation=conversation_id)


def test_a_running_response_can_be_retrieved(
    http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    running = SlowTurn(pool, http, model, tag, stream=True)
    shown = ok(http.get(f"/responses/{running.response_id}"))
    created = read_frames(running.finish().content)[0]["response"]
    assert shown == created
    assert texts_of(input_items(http, shown["id"])) == [f"gate={tag} tag={tag}"]


def test_a_response_whose_ancestor_is_deleted_during_the_turn_ends_well(
    http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    first = turn(http)
    running = SlowTurn(pool, http, model, tag, previous_response_id=first["id"])
    ok(http.delete(f"/responses/{first['id']}"))
    response = running.finished()
    assert ok(http.get(f"/responses/{response['id']}")) == response
    answer = post(http, previous_response_id=str(response["id"]))
    assert first["id"] in refused(answer, 400, "previous_response_not_found", "previous_response_id")


def test_two_turns_may_continue_one_response_at_the_same_time(
    http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    first = turn(http)
    running = SlowTurn(pool, http, model, tag, previous_response_id=first["id"])
    assert text_of(turn(http, "echo", "Other", previous_response_id=first["id"])) == "seen=3 last=Other"
    assert text_of(running.finished()) == "before after"
