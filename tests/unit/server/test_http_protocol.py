"""What is wrong below the level of routes and bodies: bytes that are no HTTP, heads without end, upgrades."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress

import httptools
import pytest

from llama_conversations.server import http_protocol
from llama_conversations.server.http_protocol import MAX_HEAD_BYTES
from unit.server.raw_http import HOST, RawAnswer, connected

GET = b"GET /v1/toys/x HTTP/1.1\r\n" + HOST
SERVED = b'{"arguments":{"toy_id":"x"}}'
CHUNKED = b"POST /v1/toys HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\n\r\n"


def assert_refused(answer: RawAnswer, status: int, *words: str) -> None:
    error = answer.error
    assert (answer.status, error["type"], error["code"], error["param"]) == (
        status,
        "invalid_request_error",
        None,
        None,
    )
    assert all(word in error["message"] for word in words), error
    assert answer.headers["connection"] == "close"
    assert answer.headers["openai-version"]
    assert answer.headers["openai-processing-ms"].isdecimal()


@pytest.mark.parametrize(
    ("request_bytes", "reason"),
    [
        (b"nonsense\r\n\r\n", "Invalid method"),
        (b"BREW /v1/toys HTTP/1.1\r\n\r\n", "Invalid method"),
        (b"GET /v1/toys/\xff HTTP/1.1\r\n\r\n", "url"),
        (b"GET http://[/ HTTP/1.1\r\n\r\n", "url"),
        (b"GET /v1/toys HTTP/7.3\r\n\r\n", "version"),
        (b"GET /v1/toys HTTP/1.1\r\nbad header: x\r\n\r\n", "header"),
        (b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n", "CONNECT"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "method"),
        (b"POST /v1/toys HTTP/1.1\r\ncontent-length: -1\r\n\r\n", "Content-Length"),
    ],
)
async def test_what_is_not_http_gets_the_envelope_with_the_reason_and_the_connection_ends(
    port, caplog, request_bytes, reason
):
    async with connected(port) as connection:
        answer = await connection.ask(request_bytes)
        assert_refused(answer, 400, "HTTP/1.1")
        assert reason.lower() in answer.error["message"].lower()
        assert await connection.rest() == b""
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_it_is_told_in_the_log_at_debug_level(port, caplog):
    with caplog.at_level(logging.DEBUG, logger="llama_conversations"):
        async with connected(port) as connection:
            answer = await connection.ask(b"nonsense\r\n\r\n")
    assert any(answer.headers["x-request-id"] in record.getMessage() for record in caplog.records)


def head_of(size: int) -> bytes:
    """A head whose URL and fields, each with four bytes for its colon and line end, come to ``size`` bytes."""
    fixed = len(b"/v1/toys/x") + len(b"host") + len(b"localhost") + 4 + len(b"long") + 4
    return GET + b"long: " + b"x" * (size - fixed) + b"\r\n\r\n"


async def test_a_head_of_the_largest_size_is_taken_and_one_byte_more_is_refused(port):
    async with connected(port) as connection:
        for _ in range(2):  # what an earlier request had does not count
            assert (await connection.ask(head_of(MAX_HEAD_BYTES))).status == 200
        head = head_of(MAX_HEAD_BYTES)
        for start in range(0, len(head), 1000):
            await connection.send(head[start : start + 1000])
            await asyncio.sleep(0)
        assert (await connection.answer()).status == 200
        assert_refused(await connection.ask(head_of(MAX_HEAD_BYTES + 1)), 431, str(MAX_HEAD_BYTES))
        assert await connection.rest() == b""


ENDLESS = {
    "fields": (GET, b"a: b\r\n" * 1000),
    "one field's value": (GET + b"a: ", b"b" * 10_000),
    "one field's name": (GET, b"b" * 10_000),
    "path": (b"GET /v1/toys/", b"x" * 10_000),
    "trailer fields": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"a: b\r\n" * 1000),
    "one trailer field's value": (CHUNKED + b"2\r\n{}\r\n0\r\na: ", b"b" * 10_000),
    "empty lines": (b"", b"\r\n" * 5000),
}


@pytest.mark.parametrize("begin_and_more", ENDLESS.values(), ids=ENDLESS)
async def test_a_head_without_end_is_refused_and_who_goes_on_sending_can_read_that(port, begin_and_more):
    begin, more = begin_and_more
    async with connected(port) as connection:
        await connection.send(begin + more)
        with suppress(ConnectionError):
            for _ in range(200):
                await connection.send(more)
        assert_refused(await connection.answer(), 431, str(MAX_HEAD_BYTES))
        assert await connection.rest() == b""


async def test_a_long_body_is_no_head(port):
    chunk = b"3e8\r\n" + b" " * 1000 + b"\r\n"
    async with connected(port) as connection:
        await connection.send(CHUNKED)
        for _ in range(2 * MAX_HEAD_BYTES // len(chunk)):
            await connection.send(chunk)
        assert (await connection.answer()).status == 413  # which is for the app to say
        assert (await connection.ask(b"0\r\n\r\n" + GET + b"\r\n")).body == SERVED


async def test_many_requests_in_one_go_are_no_long_head(port):
    count = 3 * MAX_HEAD_BYTES // len(GET)
    async with connected(port) as connection:
        sending = asyncio.create_task(connection.send((GET + b"\r\n") * count))
        for _ in range(count):
            assert (await connection.answer()).body == SERVED
        await sending


async def test_who_does_not_hang_up_after_a_refusal_is_hung_up_on(port, monkeypatch):
    monkeypatch.setattr(http_protocol, "LINGER_SECONDS", 0.05)
    async with connected(port) as connection:
        await connection.ask(b"nonsense\r\n\r\n")
        with pytest.raises(ConnectionError):
            await connection.send_until_refused(b"x" * 1000)


async def test_requests_before_the_one_that_is_no_http_are_answered_then_the_connection_ends(port):
    async with connected(port) as connection:
        await connection.send((GET + b"\r\n") * 2 + b"nonsense\r\n\r\n")
        assert (await connection.answer()).body == SERVED
        last = await connection.answer()
        assert (last.body, last.headers["connection"]) == (SERVED, "close")
        assert await connection.rest() == b""


async def test_a_body_that_is_no_http_is_refused_and_its_request_dropped(port, caplog):
    async with connected(port) as connection:
        assert (await connection.ask(GET + b"\r\n")).status == 200
        await connection.send(CHUNKED + b"2\r\n{")
        assert_refused(await connection.ask(b"}}nonsense\r\n"), 400)
        assert await connection.rest() == b""
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_answer_that_has_begun_is_not_mixed_with_a_refusal(serving):
    begun = asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving(app) as port, connected(port) as connection:
        await connection.send(CHUNKED)
        await begun.wait()
        await connection.send(b"nonsense\r\n")
        assert (await connection.rest()).endswith(b"\r\n\r\n5\r\nbegun\r\n")


async def test_a_refusal_does_not_overtake_the_answer_to_an_earlier_request(port, toybox):
    body = b'{"text":"x"}'
    slow = b"POST /v1/play HTTP/1.1\r\n" + HOST + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    async with connected(port) as connection:
        await connection.send(slow + CHUNKED)
        await toybox.called.wait()
        await connection.send(b"nonsense\r\n")
        assert await connection.rest() == b""


async def test_a_refusal_after_an_answer_that_did_not_wait_for_the_body_is_not_taken_for_another(port):
    async with connected(port) as connection:
        await connection.send(CHUNKED + b"2000\r\n" + b" " * 0x2000 + b"\r\n")
        assert (await connection.answer()).status == 413
        await connection.send(b"nonsense\r\n")
        assert await connection.rest() == b""


UPGRADE = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAA\r\n"


def upgrading(body: bytes) -> bytes:
    return b"POST /v1/toys HTTP/1.1\r\n" + HOST + UPGRADE + b"content-length: %d\r\n\r\n" % len(body) + body


async def test_an_offer_to_upgrade_is_passed_over_and_the_body_read(port, caplog):
    body = b'{"text":"hello"}'
    async with connected(port) as connection:
        assert (await connection.ask(upgrading(body))).body == b'{"arguments":{"text":"hello"}}'
        for part in (upgrading(body)[:-5], body[-5:]):
            await connection.send(part)
        assert (await connection.answer()).body == b'{"arguments":{"text":"hello"}}'
        chunked = CHUNKED.replace(HOST, HOST + UPGRADE)
        assert (await connection.ask(chunked + b"2\r\n{}\r\n0\r\n\r\n")).body == b'{"arguments":{"text":null}}'
        websocket = GET + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"
        await connection.send(websocket + upgrading(body) * 2000 + GET + b"\r\n")
        assert (await connection.answer()).body == SERVED
        for _ in range(2000):
            assert (await connection.answer()).body == b'{"arguments":{"text":"hello"}}'
        assert (await connection.answer()).body == SERVED
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_fields_behind_the_body_are_not_taken_for_the_requests_own(port):
    body = b"2\r\n{}\r\n0\r\n"
    for trailer in (b"host: evil.example", b"origin: https://evil.example", b"content-type: multipart/form-data"):
        async with connected(port) as connection:
            assert (await connection.ask(CHUNKED + body + trailer + b"\r\n\r\n")).status == 200
            assert (await connection.ask(GET + b"\r\n")).body == SERVED


async def test_a_server_that_ends_does_not_wait_for_who_was_refused(app, serving, monkeypatch):
    monkeypatch.setattr(http_protocol, "LINGER_SECONDS", 1000)
    async with AsyncExitStack() as clients:
        async with serving(app) as port:
            connection = await clients.enter_async_context(connected(port))
            await connection.ask(b"nonsense\r\n\r\n")
        await connection.gone()


def test_the_parser_still_tells_an_upgrade_by_this_exception():
    assert not issubclass(httptools.HttpParserUpgrade, httptools.HttpParserError)
