"""Erasing a conversation: nothing of what was said in it is left, neither to clients nor in the database file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.background import begin_stream, queue
from harness.conversations import create, items_of, user
from harness.forked import ForkedServer
from harness.server import scripted_config
from harness.turns import post, request, text_of, turn
from scripted_model import ScriptedModel

MARK = "xyzzy-plugh"
ERASE = {"responses": "delete"}


@pytest.fixture
def pool(model: ScriptedModel, tag: str) -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that wait at the gate ``tag``, which is opened in the end."""
    with ThreadPoolExecutor(4) as pool:
        yield pool
        model.open_gate(tag)


def erase(http: httpx2.Client, conversation_id: str) -> None:
    answer = ok(http.delete(f"/conversations/{conversation_id}", params=ERASE))
    assert answer == {"id": conversation_id, "object": "conversation.deleted", "deleted": True}
    refused(http.get(f"/conversations/{conversation_id}"), 404)


def test_the_responses_that_were_made_in_it_go_and_no_others(http: httpx2.Client) -> None:
    doomed, other = create(http, [user("a")]), create(http)
    made = [turn(http, conversation=doomed)["id"] for _ in range(2)]
    kept = [turn(http, conversation=other)["id"], turn(http)["id"]]
    branch = turn(http, previous_response_id=made[0])["id"]
    erase(http, doomed)
    for response_id in made:
        refused(http.get(f"/responses/{response_id}"), 404)
    for response_id in [*kept, branch]:
        ok(http.get(f"/responses/{response_id}"))
    refused(post(http, previous_response_id=branch), 400, "previous_response_not_found", "previous_response_id")
    assert len(items_of(http, other)) == 2


@pytest.mark.parametrize("value", ["keep", "", "DELETE", "true"])
def test_another_value_is_refused_and_nothing_is_deleted(http: httpx2.Client, value: str) -> None:
    conversation_id = create(http)
    message = refused(
        http.delete(f"/conversations/{conversation_id}", params={"responses": value}), 400, "invalid_value", "responses"
    )
    assert "delete" in message
    ok(http.get(f"/conversations/{conversation_id}"))


def test_one_that_is_not_there_is_not_found(http: httpx2.Client) -> None:
    refused(http.delete(f"/conversations/conv_{'0' * 48}", params=ERASE), 404)


def test_a_turn_that_runs_meanwhile_leaves_nothing(
    http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor
) -> None:
    conversation_id = create(http)
    running = pool.submit(post, http, "slow", f"gate={tag}", conversation=conversation_id)
    model.wait_until_reached(tag)
    erase(http, conversation_id)
    model.open_gate(tag)
    response = ok(running.result())
    assert text_of(response) == "before after"
    refused(http.get(f"/responses/{response['id']}"), 404)


def test_background_turns_that_wait_or_run_are_stopped(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    for streamed in (False, True):
        name = f"{tag}-{streamed}"
        conversation_id = create(http)
        begin = begin_stream if streamed else lambda *args, **fields: queue(*args, **fields)["id"]
        response_id = begin(http, "hang-mid", f"tag={name} gate={name}", conversation=conversation_id)
        model.wait_until_reached(name)
        erase(http, conversation_id)
        [asked] = model.requests(tag=name, count=1, ended=True)
        assert asked.outcome == "disconnected"
        refused(http.get(f"/responses/{response_id}"), 404)


def test_after_a_vacuum_the_database_file_holds_nothing_of_it(
    model: ScriptedModel, tag: str, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    limits = {"max_background_turns": 1}
    server = ForkedServer(
        tmp_path, scripted_config(tmp_path, model.base_url, server={"port": 0, "limits": limits})
    ).start()
    try:
        with server.http() as http:
            said = say_everything(http, model, tag, pool)
            stack(tmp_path, "vacuum")
            assert holding(tmp_path)
            erase(http, said)
            stack(tmp_path, "vacuum")
            assert not holding(tmp_path)
            other = turn(http, "echo", "Hello", conversation=create(http, [user("still here")]))
            assert text_of(other) == "seen=2 last=Hello"
    finally:
        server.close()
    assert not holding(tmp_path)
    assert MARK not in server.log
    assert "Traceback" not in server.log, server.log


def say_everything(http: httpx2.Client, model: ScriptedModel, tag: str, pool: ThreadPoolExecutor) -> str:
    """A conversation whose content is kept in every place that there is; its id."""

    def keyed(path: str, body: object, name: str) -> Any:
        return ok(http.post(path, json=body, headers={"idempotency-key": f"{tag}-{name}"}))

    conversation_id: str = keyed("/conversations", {"items": [user(MARK)], "metadata": {"about": MARK}}, "create")["id"]
    url = f"/conversations/{conversation_id}"
    keyed(url, {"metadata": {"now about": MARK}}, "update")
    keyed(f"{url}/items", {"items": [user(f"{MARK} {'long ' * 3000}")]}, "append")
    for store in (True, False):
        keyed("/responses", request("echo", MARK, conversation=conversation_id, store=store), f"turn {store}")
    turn(http, "echo", MARK, conversation=conversation_id, instructions=MARK, metadata={"about": MARK})
    streamed = {"stream": True, "conversation": conversation_id}
    http.post("/responses", json=request("echo", MARK, **streamed), headers={"idempotency-key": f"{tag}-stream"})
    begin_and_follow(http, conversation_id)
    running = queue(http, "slow", f"gate={tag}")["id"]
    model.wait_until_reached(tag)
    waiting = begin_stream(http, "echo", MARK, conversation=conversation_id)
    ok(http.post(f"/responses/{waiting}/cancel", headers={"idempotency-key": f"{tag}-cancel"}))
    queue(http, "echo", MARK, conversation=conversation_id, instructions=MARK)
    assert ok(http.get(f"/responses/{running}"))["status"] == "in_progress"
    return conversation_id


def begin_and_follow(http: httpx2.Client, conversation_id: str) -> None:
    """A background turn whose events are kept."""
    response_id = begin_stream(http, "echo", MARK, conversation=conversation_id)
    ok_stream = http.get(f"/responses/{response_id}", params={"stream": "true"})
    assert b"response.completed" in ok_stream.content


def stack(directory: Path, command: str) -> None:
    program = str(Path(sys.executable).with_name("stack"))
    subprocess.run([program, "db", command, str(directory / "run.yaml")], check=True, timeout=60, capture_output=True)


def holding(directory: Path) -> list[str]:
    """The files of the database that hold the mark."""
    files = [file for file in directory.glob("state.db*") if file.is_file()]
    assert directory / "state.db" in files
    return [file.name for file in files if MARK.encode() in file.read_bytes()]
