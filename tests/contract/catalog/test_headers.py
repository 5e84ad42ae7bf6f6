"""What every answer carries, and what lets web pages call the server."""

from __future__ import annotations

import httpx2
import pytest

from harness.answers import ok, refused
from harness.conversations import create, user

PAGE = "https://app.example"
ASKING = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}


def every_kind_of_answer(http):
    conversation = create(http, [user("a", id="msg_a")])
    url = f"/conversations/{conversation}"
    yield http.get(url)
    yield http.post(f"{url}/items", json={"items": []})
    yield http.delete(f"{url}/items/msg_a")
    yield http.delete(url)
    yield http.get(url)
    yield http.post("/conversations", content=b"{")
    yield http.post("/conversations", json={"metadata": 1})
    yield http.patch("/conversations")
    yield http.options("/conversations")
    yield http.head("/conversations")
    yield http.get("/nothing")
    yield http.get("/models")
    yield http.get("/models/nope")
    yield http.get("/health")
    yield http.post("/responses", json={"model": "echo", "input": "x", "store": False})
    yield http.post("/responses", json={"model": "echo", "input": "x", "store": False, "stream": True})
    yield http.post("/responses", json={"model": "status-500", "input": "x"})


def test_every_answer_has_a_request_id_of_its_own(http):
    answers = list(every_kind_of_answer(http))
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == len(answers)
    for answer in answers:
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["openai-version"]
        assert answer.headers["openai-processing-ms"].isdecimal()


def test_the_software_and_its_server_are_not_named(http):
    assert "server" not in ok_headers(http)


def ok_headers(http):
    answer = http.get("/health")
    ok(answer)
    return answer.headers


def test_a_request_without_a_key_is_served_like_any_other(server):
    with httpx2.Client(base_url=server.base_url) as http:
        assert "authorization" not in http.headers
        ok(http.get("/health"))
        create(http)


def test_a_body_with_a_deletion_or_a_reading_is_of_no_account(http):
    conversation = create(http)
    for method in ("GET", "DELETE"):
        ok(http.request(method, f"/conversations/{conversation}", json={"what": "ever"}))
    refused(http.get(f"/conversations/{conversation}"), 404)


def test_web_pages_may_not_call_unless_they_are_told(http):
    for answer in (http.get("/health", headers={"origin": PAGE}), http.options("/conversations", headers=ASKING)):
        assert "access-control-allow-origin" not in answer.headers


@pytest.fixture
def open_http(new_server):
    """Plain HTTP to a server that lets one web page in."""
    with new_server(server={"cors": {"allow_origins": [PAGE]}}).start().http() as http:
        yield http


def test_the_web_page_that_is_let_in_may_call_and_read_errors_and_request_ids(open_http):
    preflight = open_http.options("/conversations", headers=ASKING)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    here = {"origin": PAGE}
    for answer in (
        open_http.post("/conversations", json={}, headers=here),
        open_http.post("/conversations", content=b"{", headers=here),
        open_http.get("/conversations/none", headers=here),
        open_http.get("/nothing", headers=here),
        open_http.patch("/conversations", headers=here),
    ):
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert answer.headers["x-request-id"]


def test_another_web_page_is_not_let_in(open_http):
    there = "https://elsewhere.example"
    preflight = open_http.options("/conversations", headers=ASKING | {"origin": there})
    assert preflight.headers.get("access-control-allow-origin") != there
    answer = open_http.get("/health", headers={"origin": there})
    assert answer.headers.get("access-control-allow-origin") not in {there, "*"}


def test_a_preflight_carries_a_request_id_too(open_http):
    for origin in (PAGE, "https://elsewhere.example"):
        assert open_http.options("/conversations", headers=ASKING | {"origin": origin}).headers["x-request-id"]


def test_a_web_page_cannot_write_by_a_request_that_browsers_do_not_ask_about(http, open_http):
    newest = ok(http.get("/conversations"))
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        headers = {"origin": PAGE, "content-type": content_type}
        refused(http.post("/conversations", content=b"{}", headers=headers), 403)
        ok(open_http.post("/conversations", content=b"{}", headers=headers))
        there = headers | {"origin": "https://elsewhere.example"}
        refused(open_http.post("/conversations", content=b"{}", headers=there), 403)
    assert ok(http.get("/conversations")) == newest


def test_a_local_server_does_not_answer_to_a_name_that_anybody_could_point_at_it(http):
    for method, path in (("GET", "/conversations"), ("POST", "/conversations"), ("OPTIONS", "/conversations")):
        refused(http.request(method, path, headers={"host": "attacker.example:8321"}), 403)
    ok(http.get("/conversations", headers={"host": "localhost"}))
