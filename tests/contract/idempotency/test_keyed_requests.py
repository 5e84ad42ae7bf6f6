"""Requests with an ``Idempotency-Key``: one effect, and the same answer for everybody who asks with the key."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from harness.answers import ok, refused
from harness.conversations import create, items_of, texts_of, user
from harness.server import StackServer
from harness.turns import checked, request, text_of
from scripted_model import ScriptedModel, Step
from scripted_model.answers import Answer, text

REPLAYED = "idempotent-replayed"
HEADER = "Idempotency-Key"


def post(http: httpx2.Client, path: str, key: str, body: object = None) -> httpx2.Response:
    """A request with a key."""
    return http.post(path, json=body, headers={"idempotency-key": key})


def made_with(http: httpx2.Client, mark: str) -> list[str]:
    """The ids of the conversations with a mark in their metadata."""
    return [one["id"] for one in ok(http.get("/conversations", params={"metadata[mark]": mark}))["data"]]


def new_prompt(http: httpx2.Client) -> str:
    prompt_id: str = ok(http.post("/prompts", json={"prompt": "Hi"}))["prompt_id"]
    ok(http.post(f"/prompts/{prompt_id}", json={"prompt": "Ho", "version": 1}))
    return prompt_id


def new_background(http: httpx2.Client) -> str:
    response_id: str = ok(http.post("/responses", json=request("hang", background=True)))["id"]
    return response_id


ROUTES: dict[str, Callable[[httpx2.Client], tuple[str, object]]] = {
    "/conversations": lambda _: ("/conversations", {"metadata": {"a": "b"}}),
    "/conversations/{id}": lambda http: (f"/conversations/{create(http)}", {"metadata": {"a": "b"}}),
    "/conversations/{id}/items": lambda http: (f"/conversations/{create(http)}/items", {"items": [user("Hi")]}),
    "/prompts": lambda _: ("/prompts", {"prompt": "Hi {{name}}"}),
    "/prompts/{id}": lambda http: (f"/prompts/{new_prompt(http)}", {"prompt": "He", "version": 2}),
    "/prompts/{id}/set-default-version": lambda http: (
        f"/prompts/{new_prompt(http)}/set-default-version",
        {"version": 1},
    ),
    "/responses": lambda _: ("/responses", request()),
    "/responses in a conversation": lambda http: ("/responses", request(conversation=create(http))),
    "/responses in the background": lambda _: ("/responses", request(background=True)),
    "/responses/{id}/cancel": lambda http: (f"/responses/{new_background(http)}/cancel", None),
    "/responses/input_tokens": lambda _: ("/responses/input_tokens", request()),
    "/responses/compact": lambda _: ("/responses/compact", request()),
    "/chat/completions": lambda _: (
        "/chat/completions",
        {"model": "echo", "messages": [{"role": "user", "content": "Hello"}]},
    ),
}


@pytest.mark.parametrize("route", ROUTES)
def test_every_post_route_gives_the_same_answer_again(http: httpx2.Client, key: str, route: str) -> None:
    path, body = ROUTES[route](http)
    first, again = post(http, path, key, body), post(http, path, key, body)
    ok(first)
    assert again.content == first.content
    assert (first.status_code, again.status_code) == (200, 200)
    assert REPLAYED not in first.headers
    assert again.headers[REPLAYED] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert again.headers.get("x-input-tokens-estimated") == first.headers.get("x-input-tokens-estimated")


def test_every_post_route_is_among_them(server: StackServer) -> None:
    with httpx2.Client() as http:
        paths: dict[str, Any] = http.get(f"{server.root_url}/openapi.json").json()["paths"]
    declared = {path.removeprefix("/v1") for path, methods in paths.items() if "post" in methods}
    generic = {path.replace("{conversation_id}", "{id}").replace("{prompt_id}", "{id}") for path in declared}
    assert {path.replace("{response_id}", "{id}") for path in generic} <= {name.partition(" ")[0] for name in ROUTES}


def test_items_are_appended_once(http: httpx2.Client, key: str) -> None:
    conversation_id = create(http)
    for _ in range(3):
        ok(post(http, f"/conversations/{conversation_id}/items", key, {"items": [user("Once")]}))
    assert texts_of(items_of(http, conversation_id)) == ["Once"]


def test_a_turn_is_taken_once_and_the_model_asked_once(
    http: httpx2.Client, model: ScriptedModel, tag: str, key: str
) -> None:
    conversation_id = create(http)
    body = request("echo", f"tag={tag}", conversation=conversation_id)
    answers = [ok(post(http, "/responses", key, body)) for _ in range(3)]
    assert answers[1:] == answers[:1] * 2
    assert len(items_of(http, conversation_id)) == 2
    assert len(model.requests(tag=tag)) == 1


@pytest.mark.parametrize("store", [True, False])
def test_a_stream_is_replayed_byte_by_byte(
    http: httpx2.Client, model: ScriptedModel, tag: str, key: str, store: bool
) -> None:
    body = request("echo", f"tag={tag}", stream=True, store=store)
    first, again = post(http, "/responses", key, body), post(http, "/responses", key, body)
    assert checked(http, first.content, stored=store).response["status"] == "completed"
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert again.headers[REPLAYED] == "true"
    assert len(model.requests(tag=tag)) == 1


def test_a_refusal_that_is_final_is_given_again(http: httpx2.Client, key: str) -> None:
    body = {"metadata": {"a": 1}}
    first, again = post(http, "/conversations", key, body), post(http, "/conversations", key, body)
    assert first.status_code == again.status_code == 400
    assert first.content == again.content
    assert again.headers[REPLAYED] == "true"


def test_a_failure_of_the_model_server_is_tried_again(
    http: httpx2.Client, model: ScriptedModel, tag: str, key: str
) -> None:
    model.script((Step("drop"),), Answer(text("Well")), tag=tag)
    body = request("scripted", f"tag={tag}")
    first = post(http, "/responses", key, body)
    assert first.status_code == 502, first.text
    assert text_of(ok(post(http, "/responses", key, body))) == "Well"
    assert len(model.requests(tag=tag)) == 2


def test_a_locked_conversation_is_tried_again(
    http: httpx2.Client, model: ScriptedModel, tag: str, key: str, pool: ThreadPoolExecutor, server: StackServer
) -> None:
    conversation_id = create(http)
    with server.http() as other:
        running = pool.submit(
            other.post, "/responses", json=request("slow", f"gate={tag}", conversation=conversation_id)
        )
        model.wait_until_reached(tag)
        body = request("echo", "Next", conversation=conversation_id)
        refused(post(http, "/responses", key, body), 400, "conversation_locked", "conversation")
        model.open_gate(tag)
        ok(running.result())
        assert text_of(ok(post(http, "/responses", key, body))) == "seen=3 last=Next"


@pytest.mark.parametrize(
    ("path", "body"), [("/conversations", {"metadata": {"a": "c"}}), ("/prompts", {"prompt": "Hi"})]
)
def test_the_key_of_another_request_is_refused(http: httpx2.Client, key: str, path: str, body: object) -> None:
    ok(post(http, "/conversations", key, {"metadata": {"a": "b"}}))
    message = refused(post(http, path, key, body), 400, "idempotency_key_reused", HEADER)
    assert key in message


def test_another_query_makes_another_request(http: httpx2.Client, key: str) -> None:
    path = f"/conversations/{create(http)}/items"
    ok(post(http, path, key, {"items": [user("Hi")]}))
    other = f"{path}?include[]=message.output_text.logprobs"
    refused(post(http, other, key, {"items": [user("Hi")]}), 400, "idempotency_key_reused", HEADER)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "café"])
def test_what_cannot_be_a_key_is_refused(http: httpx2.Client, key: str) -> None:
    answer = http.post("/conversations", json={}, headers=[(b"idempotency-key", key.encode("latin-1"))])
    refused(answer, 400, "invalid_value", HEADER)


@pytest.mark.parametrize("length", [1, 255])
def test_a_key_may_have_1_to_255_characters(http: httpx2.Client, length: int) -> None:
    key = (uuid.uuid4().hex * 8)[:length] if length > 1 else "~"
    body = {"metadata": {"length": str(length)}}
    assert ok(post(http, "/conversations", key, body)) == ok(post(http, "/conversations", key, body))


def test_other_methods_ignore_the_header(http: httpx2.Client, key: str) -> None:
    for _ in range(2):
        answer = http.get(f"/conversations/{create(http)}", headers={"idempotency-key": key})
        assert REPLAYED not in answer.headers
        ok(answer)


def test_duplicates_at_once_make_one_conversation(
    server: StackServer, http: httpx2.Client, key: str, tag: str, pool: ThreadPoolExecutor
) -> None:
    def ask(_: int) -> httpx2.Response:
        with server.http() as own:
            return post(own, "/conversations", key, {"metadata": {"mark": tag}})

    answers = list(pool.map(ask, range(16)))
    assert len({ok(answer)["id"] for answer in answers}) == 1
    assert len(made_with(http, tag)) == 1
    assert sum(REPLAYED not in answer.headers for answer in answers) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_that_comes_while_the_first_runs_gets_its_answer(
    server: StackServer, model: ScriptedModel, tag: str, key: str, pool: ThreadPoolExecutor, streamed: bool
) -> None:
    body = request("slow", f"gate={tag} tag={tag}", stream=streamed)

    def ask() -> httpx2.Response:
        with server.http() as own:
            return post(own, "/responses", key, body)

    first = pool.submit(ask)
    model.wait_until_reached(tag)
    second = pool.submit(ask)
    with server.http() as http:
        refused(post(http, "/responses", key, request("slow", "other")), 400, "idempotency_key_reused", HEADER)
        assert not second.done()
    model.open_gate(tag)
    assert first.result().content == second.result().content
    assert len(model.requests(tag=tag)) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_hangs_up_gets_the_whole_answer_when_it_comes_back(
    server: StackServer, model: ScriptedModel, tag: str, key: str, streamed: bool
) -> None:
    body = request("slow", f"gate={tag} tag={tag}", stream=streamed, store=False)
    with server.http() as hasty, pytest.raises(httpx2.TimeoutException):
        hasty.post("/responses", json=body, headers={"idempotency-key": key}, timeout=0.5)
    model.wait_until_reached(tag)
    model.open_gate(tag)
    with server.http() as http:
        answer = post(http, "/responses", key, body)
        response = checked(http, answer.content, stored=False).response if streamed else ok(answer)
    assert text_of(response) == "before after"
    assert len(model.requests(tag=tag)) == 1


def test_the_official_client_may_retry_with_its_key(
    client: OpenAI, http: httpx2.Client, model: ScriptedModel, tag: str, key: str, server: StackServer
) -> None:
    conversation_id = create(http)
    with server.client(max_retries=1, timeout=1.0) as hasty:
        model_text = f"gate={tag} tag={tag}"
        options: dict[str, Any] = {"model": "slow", "input": model_text, "conversation": conversation_id}
        with pytest.raises(Exception, match="timed out"):
            hasty.responses.create(**options, extra_headers={"Idempotency-Key": key})
    model.open_gate(tag)
    patient = client.with_options(max_retries=2)
    response = patient.responses.create(**options, extra_headers={"Idempotency-Key": key})
    assert response.output_text == "before after"
    assert texts_of(items_of(http, conversation_id)) == [model_text, "before after"]
    assert len(model.requests(tag=tag)) == 1
