from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator

import httpx2
import pytest

from llama_conversations import errors
from llama_conversations.config.run_config import CorsConfig, LimitsConfig, ServerConfig
from llama_conversations.server import app as app_module
from llama_conversations.server.app import build_app
from llama_conversations.wire.answers import EventStream, Json
from unit.server.toy import MAX_BODY_BYTES, Echo, Toybox, Toys

REQUEST_ID = re.compile(r"^req_[0-9a-f]{32}$")
ENVELOPE_KEYS = {"message", "type", "param", "code"}


def error_of(answer: httpx2.Response) -> dict[str, str | None]:
    assert answer.headers["content-type"] == "application/json"
    assert REQUEST_ID.match(answer.headers["x-request-id"])
    body = answer.json()
    assert set(body["error"]) == ENVELOPE_KEYS
    return body["error"]


async def test_an_answer_carries_the_apis_headers(client):
    answer = await client.get("/v1/toys/x", headers={"x-request-id": "mine"})
    assert answer.headers["content-type"] == "application/json"
    assert REQUEST_ID.match(answer.headers["x-request-id"])
    assert int(answer.headers["openai-processing-ms"]) >= 0
    assert answer.headers["openai-version"] == "2020-10-01"
    assert "server" not in answer.headers


async def test_each_request_has_an_id_of_its_own(client):
    ids = {(await client.get("/v1/toys/x")).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


async def test_a_body_path_and_parameters_reach_the_implementation(client):
    answer = await client.post("/v1/toys/t/parts/3", json={"text": "hi"})
    assert answer.json() == {"arguments": {"toy_id": "t", "number": 3, "text": "hi"}}


async def test_a_body_that_may_be_absent_may_be_absent(client):
    for content in (None, b"", b" ", b"{}"):
        answer = await client.post("/v1/toys", content=content)
        assert answer.json() == {"arguments": {"text": None}}
    assert (await client.post("/v1/toys", content=b"null")).status_code == 400


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b"\xff", "invalid_json", None),
        (b"[]", "invalid_type", None),
        (b"{}", "missing_required_parameter", "text"),
        (b'{"text": 1}', "invalid_type", "text"),
        (b'{"text": "a", "txt": 1}', "unknown_parameter", "txt"),
        (b'{"text": "a", "metadata": {"k": 1}}', "invalid_type", "metadata.k"),
    ],
)
async def test_a_bad_body_is_refused_with_code_and_param(client, content, code, param):
    answer = await client.post("/v1/toys/t/parts/3", content=content)
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "text/plain", "", "application/x-www-form-urlencoded"]
)
async def test_a_json_body_is_read_whatever_it_calls_itself(client, content_type):
    headers = {"content-type": content_type} if content_type else {}
    answer = await client.post("/v1/toys/t/parts/3", content=b'{"text": "a"}', headers=headers)
    assert answer.status_code == 200


async def test_a_multipart_form_is_refused_clearly(client):
    answer = await client.post("/v1/toys/t/parts/3", files={"file": b"x"})
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (400, "unsupported_content_type")
    assert "'multipart/form-data'" in error["message"]


async def test_the_body_of_a_get_or_delete_is_ignored(client):
    for method in ("GET", "DELETE"):
        path = "/v1/toys/t" if method == "GET" else "/v1/toys/t/parts/3"
        assert (await client.request(method, path, content=b"{nonsense")).status_code == 200


async def test_a_body_of_the_largest_size_is_taken_and_one_byte_more_is_refused(client):
    body = b'{"text": "%s"}' % (b"x" * (MAX_BODY_BYTES - 12))
    assert len(body) == MAX_BODY_BYTES
    assert (await client.post("/v1/toys/t/parts/3", content=body)).status_code == 200
    answer = await client.post("/v1/toys/t/parts/3", content=body + b" ")
    assert answer.status_code == 413
    assert str(MAX_BODY_BYTES) in error_of(answer)["message"]


async def test_a_chunked_body_is_counted_as_it_comes(client):
    async def chunks(count: int) -> AsyncIterator[bytes]:
        yield b'{"text": "'
        for _ in range(count):
            yield b"x" * 100
        yield b'"}'

    assert (await client.post("/v1/toys/t/parts/3", content=chunks(9))).status_code == 200
    answer = await client.post("/v1/toys/t/parts/3", content=chunks(10))
    assert (answer.status_code, error_of(answer)["code"]) == (413, "request_too_large")


async def test_a_declared_length_is_refused_before_the_body_is_read(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for length in (b"1001", b"9" * 18):
        writer.write(
            b"POST /v1/toys HTTP/1.1\r\nhost: localhost\r\n"
            b"expect: 100-continue\r\ncontent-length: " + length + b"\r\n\r\n"
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def test_a_client_that_hangs_up_in_mid_body_is_no_error(port, client, caplog, toybox):
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /v1/toys HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await client.get("/v1/toys/x")).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_the_connection_stays_usable_after_every_kind_of_error(port, toybox):
    toybox.error = ValueError("boom")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    requests = {
        b"GET /v1/nowhere HTTP/1.1\r\n": 404,
        b"PUT /v1/toys HTTP/1.1\r\n": 405,
        b"GET /v1/toys?limit=0 HTTP/1.1\r\n": 400,
        b"POST /v1/play HTTP/1.1\r\ncontent-length: 1\r\n": 400,
        b"POST /v1/toys HTTP/1.1\r\ncontent-length: 2000\r\n": 413,
        b"GET /v1/toys HTTP/1.1\r\n": 500,
        b"GET /v1/play HTTP/1.1\r\n": 500,
    }
    for head, status in requests.items():
        length = int(head.partition(b"length: ")[2] or 0)
        writer.write(head + b"host: localhost\r\n\r\n" + b"{" * length)
        assert (await reader.readline()).startswith(b"HTTP/1.1 %d " % status)
        headers = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", headers)[1]))
    writer.close()


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nowhere", "/v1/toys/", "/v1//toys", "/toys", "/v2/toys"])
async def test_an_unknown_path_is_404(client, path):
    answer = await client.get(path)
    assert answer.status_code == 404
    assert error_of(answer) == {
        "message": f"Invalid URL (GET {path})",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


async def test_a_wrong_method_is_405_and_names_the_right_ones(client):
    answer = await client.put("/v1/toys")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST, HEAD, OPTIONS")
    assert error_of(answer)["type"] == "invalid_request_error"


async def test_options_tells_the_methods(client):
    answer = await client.options("/v1/toys/t/parts/1")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, "POST, DELETE, OPTIONS", b"")
    assert (await client.options("/v1/nowhere")).status_code == 404


async def test_head_answers_like_get_without_the_body(client):
    got, headed = await client.get("/v1/toys/x"), await client.head("/v1/toys/x")
    assert (headed.status_code, headed.content) == (200, b"")
    assert headed.headers["content-length"] == got.headers["content-length"]


async def test_an_unforeseen_error_is_logged_with_its_trace_and_not_told(client, toybox, caplog):
    toybox.error = ValueError("secret")
    answer = await client.get("/v1/toys/x", headers={"x-client-request-id": "mine"})
    error = error_of(answer)
    assert (answer.status_code, error["type"], error["code"]) == (500, "server_error", "server_error")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in error["message"]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info[1] is toybox.error
    assert answer.headers["x-request-id"] in record.getMessage()
    assert "'mine'" in record.getMessage()


async def test_a_failing_upstream_is_logged_in_one_line(client, toybox, caplog):
    toybox.error = errors.UpstreamDenied("openai", "The model server refuses our key.")
    answer = await client.get("/v1/toys/x")
    assert (answer.status_code, error_of(answer)["message"]) == (424, "The model server refuses our key.")
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "UpstreamDenied: The model server refuses our key." in record.getMessage()
    assert not record.exc_info


async def test_a_stream_from_a_route_that_declares_none_is_a_fault_of_ours(client, toybox, monkeypatch):
    async def nothing() -> AsyncGenerator[bytes, None]:
        yield b""

    monkeypatch.setattr(Toybox, "_echo", lambda *_, **__: EventStream(nothing()))
    assert (await client.get("/v1/toys")).status_code == 500


async def test_headers_of_an_error_reach_the_client(client, toybox):
    toybox.error = errors.UpstreamRateLimited("p", "slow down", retry_after="7")
    assert (await client.get("/v1/toys/x")).headers["retry-after"] == "7"
    toybox.error = errors.ConversationLocked("conv_1")
    answer = await client.get("/v1/toys/x")
    assert (answer.headers["x-should-retry"], answer.headers["retry-after-ms"]) == ("true", "1000")


async def test_every_request_is_logged_at_debug_level_only(client, caplog):
    with caplog.at_level(logging.DEBUG, logger="llama_conversations.server.app"):
        answer = await client.get("/v1/toys/x?after=hidden")
    lines = [record.getMessage() for record in caplog.records if record.name == "llama_conversations.server.app"]
    assert any(line.startswith(f"{answer.headers['x-request-id']}: GET /v1/toys/x 200 in ") for line in lines)
    assert "hidden" not in "".join(lines)
    caplog.clear()
    await client.get("/v1/toys/x")
    assert not [record for record in caplog.records if record.name.startswith("llama_conversations")]


async def test_without_cors_settings_no_page_may_call(client):
    answer = await client.get("/v1/toys", headers={"origin": "https://app.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_with_cors_settings_the_named_pages_may_call(toybox, serving):
    settings = ServerConfig(cors=CorsConfig(allow_origins=["https://app.example"]))
    async with (
        serving(build_app([(Toys, toybox)], settings)) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        asked = {"origin": "https://app.example", "access-control-request-method": "DELETE"}
        preflight = await client.options("/v1/toys/x", headers=asked)
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        toybox.error = ValueError("boom")
        failed = await client.get("/v1/toys", headers={"origin": "https://app.example"})
        assert failed.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-request-id" in failed.headers["access-control-expose-headers"]
        other = await client.get("/v1/toys", headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_two_implementations_of_one_route_are_a_programming_error(toybox):
    with pytest.raises(ValueError, match="is served already"):
        build_app([(Toys, toybox), (Toys, toybox)], ServerConfig())


async def test_the_app_runs_under_servers_that_announce_start_and_stop(app):
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_websocket_is_turned_away_where_there_is_none(app):
    sent = []

    async def send(message):
        sent.append(message)

    await app({"type": "websocket", "path": "/v1/nowhere", "headers": []}, None, send)
    start, body = sent
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 404)
    assert body["type"] == "websocket.http.response.body"
    assert b"/v1/nowhere" in body["body"]


async def test_a_server_whose_send_fails_for_a_client_that_is_gone_is_understood(app, caplog):
    async def send(message):
        raise OSError("gone")

    scope = {"type": "http", "method": "GET", "path": "/v1/nowhere", "query_string": b"", "headers": []}
    await app(scope, None, send)
    assert not caplog.records


class SlowToybox(Toybox):
    """Takes its time to find a toy."""

    async def get_toy(self, toy_id: str) -> Json[Echo]:
        self.called.set()
        await self.may_answer.wait()
        return await super().get_toy(toy_id)


async def test_more_requests_than_there_is_room_for_are_refused_at_once_and_the_others_served(serving):
    toybox = SlowToybox()
    app = build_app([(Toys, toybox)], ServerConfig(limits=LimitsConfig(max_concurrent_requests=1)))
    async with serving(app) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        first = asyncio.create_task(client.get("/v1/toys/x"))
        await toybox.called.wait()
        refused = await client.get("/v1/toys/y")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "1 requests are being served" in str(error_of(refused)["message"])
        turn = asyncio.create_task(client.get("/v1/play"))  # bounded elsewhere
        toybox.may_answer.set()
        assert [(await answer).status_code for answer in (first, turn)] == [200, 200]
        assert (await client.get("/v1/toys/y")).status_code == 200


async def test_what_came_of_the_work_of_a_request_that_the_server_ends_is_told_all_the_same():
    begun = asyncio.Event()

    async def work():
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done"

    gone = asyncio.create_task(asyncio.Event().wait())
    waiting = asyncio.create_task(app_module._unless_gone(gone, asyncio.ensure_future(work())))
    await begun.wait()
    waiting.cancel()
    assert await waiting == "done"
    gone.cancel()
