"""Servers that are killed: after the next start nothing is locked, nothing half there, nothing lost that was told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.conversations import create, items_of, texts_of, user
from harness.event_stream import check_stream, read_frames
from harness.server import StackServer
from harness.turns import input_items, post, text_of, turn
from harness.waiting import pause
from scripted_model import ScriptedModel

DIED = {"code": "server_error", "message": "The server stopped before the turn had ended."}


@pytest.fixture
def pool(model: ScriptedModel, tag: str) -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that wait at the gate ``tag``, which is opened in the end."""
    with ThreadPoolExecutor(16) as pool:
        yield pool
        model.open_gate(tag)


def lost(answer: Future[httpx2.Response]) -> None:
    """The answer of a server that died: none, or half of one."""
    with pytest.raises(httpx2.TransportError):
        answer.result()


def check_failed(http: httpx2.Client, response: dict[str, Any]) -> None:
    """A response of a turn that died."""
    assert (response["status"], response["error"]) == ("failed", DIED)
    assert (response["output"], response["completed_at"], response["usage"]) == ([], None, None)
    refused(post(http, previous_response_id=response["id"]), 400, None, "previous_response_id")


def responses_of(http: httpx2.Client, model_id: str) -> list[dict[str, Any]]:
    """The responses that a model was asked for, newest first."""
    found: list[dict[str, Any]] = ok(http.get("/responses", params={"limit": 100, "model": model_id}))["data"]
    return found


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("model_id", ["hang", "slow"], ids=["before the model answers", "in mid-answer"])
def test_a_turn_of_a_killed_server_is_failed_and_its_conversation_unlocked_and_unchanged(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, model_id: str, streamed: bool
) -> None:
    server: StackServer = new_server().start()
    with server.http() as http:
        conversation_id = create(http, [user("Before")])
        turn(http, "echo", "Hello", conversation=conversation_id)
        before = items_of(http, conversation_id)
        running = pool.submit(post, http, model_id, f"gate={tag}", conversation=conversation_id, stream=streamed)
        model.wait_until_reached(tag)
        server.kill()
        lost(running)
    server.start()
    with server.http() as http:
        assert items_of(http, conversation_id) == before
        [response] = responses_of(http, model_id)
        check_failed(http, response)
        assert response["conversation"] == {"id": conversation_id}
        assert texts_of(input_items(http, response["id"]))[-1] == f"gate={tag}"
        assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == "seen=4 last=Next"


@pytest.mark.parametrize("store", [True, False])
def test_a_turn_without_a_conversation_is_failed_or_gone(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, store: bool
) -> None:
    server: StackServer = new_server().start()
    with server.http() as http:
        running = pool.submit(post, http, "slow", f"gate={tag}", store=store, stream=True)
        model.wait_until_reached(tag)
        server.kill()
        lost(running)
    server.start()
    with server.http() as http:
        found = responses_of(http, "slow")
        assert len(found) == store
        for response in found:
            check_failed(http, response)


def test_many_turns_of_a_killed_server_are_failed_and_all_conversations_unlocked(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    server: StackServer = new_server().start()
    with server.http() as http:
        ids = [create(http, [user(f"Before {number}")]) for number in range(10)]
        running = [
            pool.submit(
                post, http, "slow", f"gate={tag}{number}", conversation=name, stream=number % 2 == 0, store=number < 8
            )
            for number, name in enumerate(ids)
        ]
        for number in range(len(ids)):
            model.wait_until_reached(f"{tag}{number}")
        server.kill()
        for answer in running:
            lost(answer)
    server.start()
    with server.http() as http:
        found = responses_of(http, "slow")
        assert len(found) == 8
        for response in found:
            check_failed(http, response)
        for number, conversation_id in enumerate(ids):
            assert texts_of(items_of(http, conversation_id)) == [f"Before {number}"]
            assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == "seen=2 last=Next"


def test_what_was_acknowledged_is_there_whole_and_in_order_whenever_the_server_is_killed(new_server: Any) -> None:
    server: StackServer = new_server().start()
    acknowledged: dict[str, list[dict[str, Any]]] = {}
    enough = threading.Event()

    def talk(conversation_id: str, streamed: bool) -> None:
        said = acknowledged.setdefault(conversation_id, [])
        with server.http() as http:
            try:
                while True:
                    answer = post(http, "echo", f"q{len(said)}", conversation=conversation_id, stream=streamed)
                    said.append(check_stream(read_frames(answer.content)) if streamed else ok(answer))
                    if len(said) >= 10:
                        enough.set()
            except httpx2.TransportError:
                return

    with server.http() as http:
        ids = [create(http) for _ in range(4)]
    talkers = [threading.Thread(target=talk, args=(name, number % 2 == 0)) for number, name in enumerate(ids)]
    for talker in talkers:
        talker.start()
    assert enough.wait(30)
    server.kill()
    for talker in talkers:
        talker.join()
    server.start()
    with server.http() as http:
        assert not [
            r for r in ok(http.get("/responses", params={"limit": 100}))["data"] if r["status"] == "in_progress"
        ]
        for conversation_id, responses in acknowledged.items():
            check_talk(http, conversation_id, responses)


def check_talk(http: httpx2.Client, conversation_id: str, responses: list[dict[str, Any]]) -> None:
    """A conversation holds every turn that was acknowledged; of the one that was not, everything or nothing."""
    items = items_of(http, conversation_id)
    assert len(items) in {2 * len(responses), 2 * len(responses) + 2}
    for number, response in enumerate(responses):
        assert ok(http.get(f"/responses/{response['id']}")) == response
        assert items[2 * number]["content"][0]["text"] == f"q{number}"
        assert items[2 * number + 1] == response["output"][0]
    seen = len(items) + 1
    assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == f"seen={seen} last=Next"


def test_a_server_may_be_killed_again_and_again(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    server: StackServer = new_server()
    conversation_id = None
    for number in range(3):
        server.start()
        with server.http() as http:
            conversation_id = conversation_id or create(http)
            turn(http, "echo", f"q{number}", conversation=conversation_id)
            running = pool.submit(post, http, "slow", f"gate={tag}{number}", conversation=conversation_id)
            model.wait_until_reached(f"{tag}{number}")
            server.kill()
            lost(running)
    server.start()
    with server.http() as http:
        questions = texts_of(items_of(http, str(conversation_id)))[::2]
        assert questions == ["q0", "q1", "q2"]
        assert [response["status"] for response in responses_of(http, "slow")] == ["failed"] * 3


def test_turns_of_a_living_server_are_left_alone_by_one_that_starts_beside_it(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, tmp_path: Any
) -> None:
    first: StackServer = new_server(tmp_path / "shared").start()
    with first.http() as http:
        conversation_id = create(http)
        running = pool.submit(post, http, "slow", f"gate={tag}", conversation=conversation_id)
        model.wait_until_reached(tag)
        second: StackServer = new_server(tmp_path / "shared").start()
        with second.http() as other:
            refused(post(other, conversation=conversation_id), 400, "conversation_locked", "conversation")
            model.open_gate(tag)
            assert text_of(ok(running.result())) == "before after"
            assert text_of(turn(other, "echo", "Next", conversation=conversation_id)) == "seen=3 last=Next"


def test_turns_of_a_killed_server_are_mended_by_one_that_runs_beside_it(
    new_server: Any, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor, tmp_path: Any
) -> None:
    first: StackServer = new_server(tmp_path / "shared").start()
    second: StackServer = new_server(tmp_path / "shared", turns={"sweep_seconds": 0.2}).start()
    with first.http() as http:
        conversation_id = create(http)
        running = pool.submit(post, http, "slow", f"gate={tag}", conversation=conversation_id)
        model.wait_until_reached(tag)
        first.kill()
        lost(running)
    with second.http() as http:
        while (answer := post(http, "echo", "Next", conversation=conversation_id)).status_code == 400:
            refused(answer, 400, "conversation_locked", "conversation")
            pause()
        assert text_of(ok(answer)) == "seen=1 last=Next"
        while (response := responses_of(http, "slow")[0])["status"] == "in_progress":
            pause()  # a turn takes a conversation whose lease has run out, be the sweep before it or behind it
        check_failed(http, response)
