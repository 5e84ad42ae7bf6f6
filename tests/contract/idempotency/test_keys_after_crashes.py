"""Idempotency keys over restarts and crashes: a repeat never does a thing twice, and never tells what is not so."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import httpx2
import pytest

from harness.answers import ok
from harness.conversations import create, items_of, texts_of, user
from harness.forked import ForkedProcess
from harness.server import StackServer
from harness.turns import checked, request, text_of
from scripted_model import ScriptedModel

REPLAYED = "idempotent-replayed"
DIED = {"code": "server_error", "message": "The server stopped before the turn had ended."}

SEND_AND_DIE = """
import asyncio, json, os, signal, sys
import httpx2
from llama_conversations.library import asgi_app
from llama_conversations.server.idempotency import RouteWork
from llama_conversations.server.in_process import InProcessTransport
from llama_conversations.stack.stack import Stack
from llama_conversations.storage.sql_idempotency import SqlIdempotencyStore

run_yaml, when, path, key, *bodies = sys.argv[1:]
left = len(bodies)

async def die(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.Event().wait()

if when == "before the effect":
    RouteWork.run = die
else:
    SqlIdempotencyStore.keep = die

async def main():
    async with Stack.from_config(run_yaml) as stack:
        transport = InProcessTransport(asgi_app(stack))
        async with httpx2.AsyncClient(transport=transport, base_url="http://stack.in-process/v1") as http:
            await asyncio.gather(*(
                http.post(path, content=body, headers={"idempotency-key": f"{key}{n or ''}"})
                for n, body in enumerate(bodies)
            ))

asyncio.run(main())
"""
"""Requests to a server that is killed before it does anything, or after the effects and before an answer is kept."""

WHEN = ["before the effect", "after the effect"]


def post(http: httpx2.Client, path: str, key: str, body: object) -> httpx2.Response:
    return http.post(
        path, content=json.dumps(body), headers={"idempotency-key": key, "content-type": "application/json"}
    )


def send_and_die(server: StackServer, directory: Path, when: str, path: str, key: str, *bodies: object) -> None:
    """Send requests at once to a process as the server is; the first has the key, the others a number behind it."""
    arguments = ["-c", str(directory / "run.yaml"), when, path, key, *map(json.dumps, bodies)]
    died = ForkedProcess(SEND_AND_DIE, arguments, directory)
    assert died.finish(60) == ("", -signal.SIGKILL)
    if server.after_kill is not None:
        server.after_kill(died.pid)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_an_answer_is_given_again_after_a_restart(new_server: Any, key: str) -> None:
    server: StackServer = new_server().start()
    with server.http() as http:
        first = post(http, "/conversations", key, {"metadata": {"a": "b"}})
        stream = post(http, "/responses", f"{key}-stream", request(stream=True))
    server.stop()
    server.start()
    with server.http() as http:
        again = post(http, "/conversations", key, {"metadata": {"a": "b"}})
        assert ok(again) == ok(first)
        assert again.headers[REPLAYED] == "true"
        assert post(http, "/responses", f"{key}-stream", request(stream=True)).content == stream.content


@pytest.mark.parametrize("when", WHEN)
def test_a_conversation_is_made_once_whenever_the_server_is_killed(
    new_server: Any, directory: Path, key: str, when: str
) -> None:
    server: StackServer = new_server(directory)
    body = {"metadata": {"a": "b"}, "items": [user("Hi")]}
    send_and_die(server, directory, when, "/conversations", key, body)
    server.start()
    with server.http() as http:
        answers = [post(http, "/conversations", key, body) for _ in range(2)]
        assert ok(answers[0]) == ok(answers[1])
        assert (REPLAYED in answers[0].headers) == (when == "after the effect")
        [made] = ok(http.get("/conversations"))["data"]
        assert made == ok(answers[0])
        assert texts_of(items_of(http, made["id"])) == ["Hi"]


@pytest.mark.parametrize("when", WHEN)
def test_items_are_appended_once_whenever_the_server_is_killed(
    new_server: Any, directory: Path, key: str, when: str
) -> None:
    server: StackServer = new_server(directory).start()
    with server.http() as http:
        path = f"/conversations/{create(http)}/items"
    server.stop()
    send_and_die(server, directory, when, path, key, {"items": [user("Once")]})
    server.start()
    with server.http() as http:
        answer = ok(post(http, path, key, {"items": [user("Once")]}))
        assert answer["data"] == items_of(http, path.split("/")[2])
        assert texts_of(answer["data"]) == ["Once"]


def test_an_update_that_was_overtaken_is_not_done_again(new_server: Any, directory: Path, key: str) -> None:
    server: StackServer = new_server(directory).start()
    with server.http() as http:
        path = f"/conversations/{create(http)}"
    server.stop()
    send_and_die(server, directory, "after the effect", path, key, {"metadata": {"v": "1"}})
    server.start()
    with server.http() as http:
        ok(http.post(path, json={"metadata": {"v": "2"}}))
        assert ok(post(http, path, key, {"metadata": {"v": "1"}}))["metadata"] == {"v": "1"}
        assert ok(http.get(path))["metadata"] == {"v": "2"}


def test_what_was_made_and_deleted_since_is_not_made_again(new_server: Any, directory: Path, key: str) -> None:
    server: StackServer = new_server(directory)
    send_and_die(server, directory, "after the effect", "/conversations", key, {})
    server.start()
    with server.http() as http:
        [made] = ok(http.get("/conversations"))["data"]
        ok(http.delete(f"/conversations/{made['id']}"))
        assert ok(post(http, "/conversations", key, {})) == made
        assert ok(http.get("/conversations"))["data"] == []


def test_a_prompt_gets_one_version_and_its_answer(new_server: Any, directory: Path, key: str) -> None:
    server: StackServer = new_server(directory).start()
    with server.http() as http:
        path = f"/prompts/{ok(http.post('/prompts', json={'prompt': 'a'}))['prompt_id']}"
    server.stop()
    send_and_die(server, directory, "after the effect", path, key, {"prompt": "b", "version": 1})
    server.start()
    with server.http() as http:
        assert ok(post(http, path, key, {"prompt": "b", "version": 1}))["version"] == 2
        assert len(ok(http.get(f"{path}/versions"))["data"]) == 2


def test_turns_that_were_committed_are_told_from_what_was_stored(new_server: Any, directory: Path, key: str) -> None:
    server: StackServer = new_server(directory).start()
    ways = list(product(("echo", "tool"), (True, False), (False, True)))
    with server.http() as http:
        bodies = [_body(create(http), *way) for way in ways]
    server.stop()
    send_and_die(server, directory, "after the effect", "/responses", key, *bodies)
    server.start()
    with server.http() as http:
        for number, (body, (_, store, streamed)) in enumerate(zip(bodies, ways, strict=True)):
            answer = post(http, "/responses", f"{key}{number or ''}", body)
            response = checked(http, answer.content, stored=store).response if streamed else ok(answer)
            assert response["status"] == "completed"
            assert answer.headers[REPLAYED] == "true"
            assert items_of(http, body["conversation"])[1:] == response["output"]
            assert post(http, "/responses", f"{key}{number or ''}", body).content == answer.content
            assert len(items_of(http, body["conversation"])) == 2


def _body(conversation_id: str, kind: str, store: bool, streamed: bool) -> dict[str, Any]:
    body = request(kind, "Hello", conversation=conversation_id, store=store, stream=streamed)
    if kind == "tool":
        body["tools"] = [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]
    return body


@pytest.mark.parametrize("streamed", [False, True])
def test_a_turn_that_died_with_its_server_is_told_as_failed_and_not_taken_again(
    new_server: Any, model: ScriptedModel, tag: str, key: str, pool: ThreadPoolExecutor, streamed: bool
) -> None:
    server: StackServer = new_server().start()
    with server.http() as http:
        conversation_id = create(http)
        body = request("slow", f"gate={tag} tag={tag}", conversation=conversation_id, stream=streamed)
        running = pool.submit(post, http, "/responses", key, body)
        model.wait_until_reached(tag)
        server.kill()
        with pytest.raises(httpx2.TransportError):
            running.result()
    server.start()
    with server.http() as http:
        answer = post(http, "/responses", key, body)
        response = checked(http, answer.content).response if streamed else ok(answer)
        assert (response["status"], response["error"]) == ("failed", DIED)
        assert post(http, "/responses", key, body).content == answer.content
        assert items_of(http, conversation_id) == []
        assert len(model.requests(tag=tag)) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_a_background_turn_is_queued_once_and_found_again(
    new_server: Any, directory: Path, model: ScriptedModel, tag: str, key: str, streamed: bool
) -> None:
    server: StackServer = new_server(directory)
    body = request("echo", f"tag={tag}", background=True, stream=streamed)
    send_and_die(server, directory, "after the effect", "/responses", key, body)
    server.start()
    with server.http() as http:
        answer = post(http, "/responses", key, body)
        response_id = checked(http, answer.content).response["id"] if streamed else ok(answer)["id"]
        assert [one["id"] for one in ok(http.get("/responses"))["data"]] == [response_id]


def test_a_request_that_another_process_runs_is_waited_for(
    new_server: Any, model: ScriptedModel, directory: Path, tag: str, key: str, pool: ThreadPoolExecutor
) -> None:
    first, second = new_server(directory).start(), new_server(directory).start()
    body = request("slow", f"gate={tag} tag={tag}")
    with first.http() as http, second.http() as other:
        running = pool.submit(post, http, "/responses", key, body)
        model.wait_until_reached(tag)
        waiting = pool.submit(post, other, "/responses", key, body)
        ok(other.get("/conversations"))
        assert not waiting.done()
        model.open_gate(tag)
        assert text_of(ok(running.result())) == "before after"
        assert waiting.result().content == running.result().content
        assert waiting.result().headers[REPLAYED] == "true"
    assert len(model.requests(tag=tag)) == 1


def test_a_request_whose_other_process_is_killed_is_taken_over(
    new_server: Any, model: ScriptedModel, directory: Path, tag: str, key: str, pool: ThreadPoolExecutor
) -> None:
    first, second = new_server(directory).start(), new_server(directory).start()
    body = request("slow", f"gate={tag}", store=False)
    with first.http() as http, second.http() as other:
        running = pool.submit(post, http, "/responses", key, body)
        model.wait_until_reached(tag)
        waiting = pool.submit(post, other, "/responses", key, body)
        first.kill()
        with pytest.raises(httpx2.TransportError):
            running.result()
        model.open_gate(tag)
        assert text_of(ok(waiting.result())) == "before after"
