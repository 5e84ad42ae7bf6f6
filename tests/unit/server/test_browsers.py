"""Web pages of others, which can make a visitor's browser send requests to a server on the visitor's machine."""

from __future__ import annotations

import httpx2
import pytest
from starlette.types import ASGIApp

from llama_conversations.config.run_config import CorsConfig, ServerConfig
from llama_conversations.server.app import build_app
from unit.server.conftest import Serving
from unit.server.raw_http import connected
from unit.server.toy import Toybox, Toys

PAGE = "https://app.example"
ELSEWHERE = "https://elsewhere.example"
SIMPLE_TYPES = [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]


def assert_forbidden(answer: httpx2.Response, *words: str) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"], error["param"]) == (
        403,
        "invalid_request_error",
        None,
        None,
    )
    assert all(word in error["message"] for word in words), error
    assert answer.headers["x-request-id"].startswith("req_")


async def post(client: httpx2.AsyncClient, origin: str | None, content_type: str | None, **headers: str):
    given = {"origin": origin, "content-type": content_type} | headers
    return await client.post(
        "/v1/toys", content=b"{}", headers={name: value for name, value in given.items() if value is not None}
    )


@pytest.mark.parametrize("content_type", SIMPLE_TYPES)
@pytest.mark.parametrize("origin", [ELSEWHERE, "null", "http://localhost", "http://localhost:1", "file://", ""])
async def test_another_pages_post_that_no_browser_asks_about_first_is_forbidden(client, toybox, origin, content_type):
    assert_forbidden(await post(client, origin, content_type), f"'{origin}'", "server.cors.allow_origins")
    assert not toybox.called.is_set()


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_which_browsers_ask_about_first_is_served_whatever_the_origin(client, content_type):
    assert (await post(client, ELSEWHERE, content_type)).status_code == 200


@pytest.mark.parametrize("content_type", ["application/jsonx", "text/plain; application/json", "x, application/json"])
async def test_what_only_looks_like_json_is_not(client, content_type):
    assert_forbidden(await post(client, ELSEWHERE, content_type))


async def test_a_request_without_origin_is_served_whatever_its_type(client):
    for content_type in (None, "text/plain"):
        assert (await post(client, None, content_type)).status_code == 200


async def test_a_page_of_the_server_itself_may_post(client, port):
    for origin, host in (
        (f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"),
        (f"http://localhost:{port}", f"LOCALHOST:{port}"),
        ("https://localhost", "localhost"),
    ):
        assert (await post(client, origin, None, host=host)).status_code == 200
    assert_forbidden(await post(client, f"http://127.0.0.1:{port}", None, host="localhost"))


async def test_other_methods_are_not_looked_at(client):
    headers = {"origin": ELSEWHERE}
    assert (await client.get("/v1/toys", headers=headers)).status_code == 200
    assert (await client.delete("/v1/toys/t/parts/3", headers=headers)).status_code == 200


@pytest.mark.parametrize(("allowed", "served"), [([PAGE], [PAGE]), (["*"], [PAGE, ELSEWHERE, "null"])])
async def test_pages_that_the_configuration_lets_in_may_post(toybox, serving: Serving, allowed, served):
    app = build_app([(Toys, toybox)], ServerConfig(cors=CorsConfig(allow_origins=allowed)))
    async with (
        serving(app) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        for origin in (PAGE, ELSEWHERE, "null"):
            answer = await post(client, origin, "text/plain")
            assert answer.status_code == (200 if origin in served else 403)
            assert ("access-control-allow-origin" in answer.headers) == (origin in served)


async def test_a_preflight_carries_what_every_answer_does(toybox: Toybox, serving: Serving):
    app = build_app([(Toys, toybox)], ServerConfig(cors=CorsConfig(allow_origins=[PAGE])))
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    async with (
        serving(app) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        allowed = await client.options("/v1/toys", headers=asked | {"origin": PAGE})
        refused = await client.options("/v1/toys", headers=asked | {"origin": ELSEWHERE})
    assert (allowed.status_code, allowed.headers["access-control-allow-headers"]) == (200, "authorization")
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["type"], error["code"], error["message"]) == (
        "invalid_request_error",
        None,
        "Disallowed CORS origin",
    )
    assert refused.headers["content-type"] == "application/json"
    assert "access-control-allow-origin" not in refused.headers
    ids = {answer.headers["x-request-id"] for answer in (allowed, refused)}
    assert len(ids) == 2
    for answer in (allowed, refused):
        assert answer.headers["openai-version"]
        assert answer.headers["openai-processing-ms"].isdecimal()
        assert "origin" in answer.headers["vary"].lower()


LOCAL = [
    "localhost", "localhost:1", "LocalHost", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8321", "localhost:", "",
    "app.localhost:8321", "host.docker.internal:8321",
]  # fmt: skip
FOREIGN = [
    "evil.example", "evil.example:8321", "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil.example",
    "xlocalhost", "xinternal", "internal", "host.internal.evil.example", "::1",
    "[::2]", "[::1]x", "0.0.0.0", "192.168.0.1", "localhost:x.evil.example",
]  # fmt: skip


async def status_for(port: int, host: str, method: str = "GET") -> tuple[int, str]:
    async with connected(port) as connection:
        answer = await connection.ask(f"{method} /v1/toys/x HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        return answer.status, answer.error["message"] if answer.status >= 400 else ""


@pytest.mark.parametrize("host", LOCAL)
async def test_on_a_loopback_address_the_names_of_the_machine_are_answered_to(port, host):
    assert await status_for(port, host) == (200, "")


@pytest.mark.parametrize("host", FOREIGN)
async def test_on_a_loopback_address_another_name_is_forbidden(port, toybox, host):
    status, message = await status_for(port, host)
    assert status == 403
    assert f"'{host}'" in message
    assert not toybox.called.is_set()


async def test_on_a_loopback_address_every_route_and_method_is_guarded(port):
    for head in (b"OPTIONS /v1/toys", b"POST /v1/toys", b"GET /openapi.json", b"GET /v1/nothing"):
        async with connected(port) as connection:
            answer = await connection.ask(head + b" HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 0\r\n\r\n")
            assert answer.status == 403
            assert answer.error["type"] == "invalid_request_error"
            assert (await connection.ask(b"GET /v1/toys HTTP/1.1\r\nhost: localhost\r\n\r\n")).status == 200


async def test_one_foreign_name_among_several_is_enough(port):
    async with connected(port) as connection:
        request = b"GET /v1/toys/x HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n"
        assert (await connection.ask(request)).status == 403


async def test_a_request_that_names_no_host_is_served(port):
    async with connected(port) as connection:
        assert (await connection.ask(b"GET /v1/toys/x HTTP/1.0\r\n\r\n")).status == 200


async def test_the_configured_host_is_answered_to_by_its_own_name(app: ASGIApp, serving: Serving):
    async with serving(app, "127.0.0.9") as port, connected(port, "127.0.0.9") as connection:
        for host, status in ((b"127.0.0.9", 200), (b"127.0.0.8", 403)):
            answer = await connection.ask(b"GET /v1/toys/x HTTP/1.1\r\nhost: " + host + b"\r\n\r\n")
            assert answer.status == status


async def test_on_other_addresses_any_name_is_answered_to(app: ASGIApp, serving: Serving):
    async with serving(app, "0.0.0.0") as port:
        assert await status_for(port, "chat.example") == (200, "")
