"""Requests that cannot be served: each gets the error's envelope, and the connection serves on."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from harness.answers import ok
from harness.connection import Connection
from harness.conversations import create, items_of, user

CONVERSATIONS = "/v1/conversations"
SHOW_IMAGES = "message.input_image.image_url"
UNKNOWN = "conv_" + "0" * 48


@pytest.fixture
def connection(server):
    """One connection, which must serve after whatever was sent over it."""
    with Connection(server.root_url) as connection:
        yield connection
        connection.assert_usable()


def assert_error(answer, status, code, param=None):
    error = answer.error
    assert (answer.status, error["type"], error["code"], error["param"]) == (
        status,
        "invalid_request_error",
        code,
        param,
    ), error
    return error["message"]


# ---------------------------------------------------------------------------------------------------------- routes


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v1/"),
        ("GET", "/v2/conversations"),
        ("GET", "/conversations"),
        ("GET", "/v1/nothing"),
        ("GET", "/v1/conversations/"),
        ("GET", "//v1/conversations"),
        ("GET", "/v1//conversations"),
        ("GET", "/V1/conversations"),
        ("GET", "/v1/conversations/conv_1/"),
        ("GET", "/v1/conversations/conv_1/items/msg_1/more"),
        ("GET", "/v1/conversations/conv_1/messages"),
        ("POST", "/v1/conversations/conv_1/items/"),
        ("DELETE", "/v1/nothing"),
        ("GET", "/v1/../v1/health"),
        ("GET", "/v1/%2e%2e/etc/passwd"),
        ("GET", "/v1/conversations%2Fconv_1"),
    ],
)
def test_an_unknown_route_is_not_found(connection, method, path):
    message = assert_error(connection.send(method, path), 404, None)
    assert message.startswith(f"Invalid URL ({method} ")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", CONVERSATIONS, {"GET", "HEAD", "POST", "OPTIONS"}),
        ("PATCH", CONVERSATIONS, {"GET", "HEAD", "POST", "OPTIONS"}),
        ("DELETE", CONVERSATIONS, {"GET", "HEAD", "POST", "OPTIONS"}),
        ("PATCH", f"{CONVERSATIONS}/conv_1", {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}),
        ("PUT", f"{CONVERSATIONS}/conv_1/items", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("POST", f"{CONVERSATIONS}/conv_1/items/msg_1", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("TRACE", "/v1/health", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/v1/models", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/openapi.json", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_not_allowed_and_is_told_which_are(connection, method, path, allowed):
    answer = connection.send(method, path, b"{}" if method != "TRACE" else None)
    assert_error(answer, 405, None)
    assert set(answer.headers["allow"].split(", ")) == allowed


def test_options_tells_the_methods(connection):
    answer = connection.send("OPTIONS", CONVERSATIONS)
    assert answer.status in {200, 204}
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}
    assert answer.headers["x-request-id"]


def test_head_answers_like_get_without_a_body(connection):
    head, get = connection.send("HEAD", CONVERSATIONS), connection.send("GET", CONVERSATIONS)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert connection.send("HEAD", f"{CONVERSATIONS}/{UNKNOWN}").status == 404


# ------------------------------------------------------------------------------------------------------------- ids

ODD_IDS = {
    "300 characters": "c" * 300,
    "10,000 characters": "c" * 10_000,
    "an escaped slash": "conv_%2F..%2Fx",
    "a double escape": "conv_%252F",
    "a bad escape": "conv_%zz%",
    "unicode": quote("разговор"),
    "an emoji": quote("🦙"),
    "bytes that are not UTF-8": "%ff%fe%c3",
    "half a surrogate pair": "%ed%a0%80",
    "a space": "a%20b",
    "quotes": "'%22%60",
    "sql": "x'%20OR%20'1'='1",
    "wildcards": "conv_%25_*",
    "markup": "%3Cscript%3E",
    "control characters": "%01%0d%0a%7f",
    "dots": "...",
    "semicolon and comma": "a;b,c=d",
    "brackets": "[0]{x}",
    "null": "null",
    "a format": "%7B0%7D%25s%7Bself%7D",
}


@pytest.mark.databases("sqlite", "postgres")
@pytest.mark.parametrize("odd", ODD_IDS.values(), ids=ODD_IDS)
def test_an_odd_conversation_id_is_not_found(connection, odd):
    for method, path, body in (
        ("GET", f"{CONVERSATIONS}/{odd}", None),
        ("POST", f"{CONVERSATIONS}/{odd}", b'{"metadata":{}}'),
        ("DELETE", f"{CONVERSATIONS}/{odd}", None),
        ("GET", f"{CONVERSATIONS}/{odd}/items", None),
        ("POST", f"{CONVERSATIONS}/{odd}/items", b'{"items":[]}'),
        ("GET", f"{CONVERSATIONS}/{odd}/items/msg_1", None),
        ("DELETE", f"{CONVERSATIONS}/{odd}/items/{odd}", None),
    ):
        message = assert_error(connection.send(method, path, body), 404, None)
        assert message.startswith("Conversation with id '")


@pytest.mark.databases("sqlite", "postgres")
@pytest.mark.parametrize("odd", ODD_IDS.values(), ids=ODD_IDS)
def test_an_odd_item_id_is_not_found_and_as_a_cursor_refused(connection, http, odd):
    conversation = create(http, [user("a")])
    items = f"{CONVERSATIONS}/{conversation}/items"
    for method in ("GET", "DELETE"):
        message = assert_error(connection.send(method, f"{items}/{odd}"), 404, None)
        assert message.startswith("Item with id '")
    assert_error(connection.send("GET", f"{items}?after={odd}"), 400, "invalid_value", "after")
    assert_error(connection.send("GET", f"{CONVERSATIONS}?after={odd}"), 400, "invalid_value", "after")
    assert len(items_of(http, conversation)) == 1


@pytest.mark.databases("sqlite", "postgres")
@pytest.mark.parametrize("odd", ["%00", "conv_%00", "a%00b"])
def test_an_id_with_a_null_character_is_refused(connection, odd):
    assert_error(connection.send("GET", f"{CONVERSATIONS}/{odd}"), 400, "invalid_value", "conversation_id")
    path = f"{CONVERSATIONS}/{UNKNOWN}/items"
    assert_error(connection.send("DELETE", f"{path}/{odd}"), 400, "invalid_value", "item_id")
    assert_error(connection.send("GET", f"{path}?after={odd}"), 400, "invalid_value", "after")


# ------------------------------------------------------------------------------------------------------------ bodies

NOT_JSON = {
    "nothing": b"",
    "space": b"  \n",
    "a word": b"hello",
    "half an object": b'{"items":[',
    "a trailing comma": b'{"items":[],}',
    "single quotes": b"{'items':[]}",
    "two documents": b'{"items":[]}{"items":[]}',
    "a comment": b'{"items":[]/*x*/}',
    "NaN": b'{"items":NaN}',
    "Infinity": b'{"items":[Infinity]}',
    "a number out of range": b'{"items":[1e999]}',
    "an integer of 5,000 digits": b'{"items":[%s]}' % (b"9" * 5000),
    "bytes that are not UTF-8": b'{"items":["\xff\xfe"]}',
    "latin-1": '{"items":["é"]}'.encode("latin-1"),
    "UTF-16": '{"items":[]}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"items":[]}',
    "a raw control character": b'{"items":["\n"]}',
    "a raw null character": b'{"items":["\x00"]}',
    "a bad escape": b'{"items":["\\x41"]}',
    "half a surrogate pair": b'{"items":[{"role":"user","content":"\\ud83d"}]}',
    "the other half": b'{"items":[{"role":"user","content":"\\udd99 x"}]}',
    "half a pair in a key": b'{"\\ud83d":1}',
    "half a pair in bytes": b'{"items":["\xed\xa0\xbd"]}',
    "5,000 nested arrays": b'{"items":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "100,000 nested objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "unclosed nesting": b"[" * 100_000,
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "a form": b"items=%5B%5D",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_refused_as_such(connection, http, body):
    conversation = create(http, [user("a")])
    path = f"{CONVERSATIONS}/{conversation}"
    for target in (f"{path}/items", path, CONVERSATIONS):
        if target == CONVERSATIONS and not body.strip():
            continue  # here a body may be absent
        message = assert_error(connection.send("POST", target, body), 400, "invalid_json")
        assert message.startswith("We could not parse the JSON body of your request")
    assert len(items_of(http, conversation)) == 1


@pytest.mark.parametrize("levels", [1, 50, 150, 190, *range(194, 202), 250, 1000])
def test_nesting_is_kept_whole_or_refused_as_too_deep(connection, http, levels):
    conversation = create(http)
    nested = b'{"a":' * levels + b"[]" + b"}" * levels
    body = b'{"items":[{"role":"user","content":"x","extra":%s}]}' % nested
    answer = connection.send("POST", f"{CONVERSATIONS}/{conversation}/items", body)
    if levels <= 190 or answer.status == 200:
        assert nested in answer.body
        assert nested in connection.send("GET", f"{CONVERSATIONS}/{conversation}/items").body
    else:
        assert "nested too deeply" in assert_error(answer, 400, "invalid_json")
        assert items_of(http, conversation) == []


@pytest.mark.databases("sqlite", "postgres")
@pytest.mark.parametrize("number", ["18446744073709551616", "-" + "9" * 300, "1e308", "5e-324", "0.1", "-0.0", "1.0"])
def test_numbers_of_any_size_are_kept(http, number):
    conversation = create(http)
    body = b'{"items":[{"role":"user","content":"a","n":%s}]}' % number.encode()
    ok(http.post(f"/conversations/{conversation}/items", content=body))
    (item,) = items_of(http, conversation)
    assert repr(item["n"]) == repr(json.loads(number))


@pytest.mark.databases("sqlite", "postgres")
@pytest.mark.parametrize("text", ["a\x00b", "\x00", "\ufffe\uffff", "\U0010ffff", "\u202e", "\r\n\t\b\f", "\ufeff", ""])
def test_any_character_may_stand_in_a_text(http, text):
    conversation = create(http, [user(text, **{"x\x00y": text})], metadata={"k": text})
    (item,) = items_of(http, conversation)
    assert item["content"][0]["text"] == text
    assert item["x\x00y"] == text
    assert ok(http.get(f"/conversations/{conversation}"))["metadata"] == {"k": text}


@pytest.mark.parametrize("limit", ["%205", "5%20", "%2B5", "5.0", "1_0", "5e0", "%D9%A5", "", "five"])
def test_only_digits_are_a_limit(connection, http, limit):
    conversation = create(http)
    for path in (CONVERSATIONS, f"{CONVERSATIONS}/{conversation}/items"):
        assert_error(connection.send("GET", f"{path}?limit={limit}"), 400, "invalid_type", "limit")


def test_a_multipart_form_is_refused(connection):
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = connection.send("POST", CONVERSATIONS, b"--x--", headers)
    assert_error(answer, 400, "unsupported_content_type")


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (1, "invalid_type", "items[1].content"),
        (None, "invalid_type", "items[1].content"),
        ({}, "invalid_type", "items[1].content"),
        (["hi"], "invalid_type", "items[1].content[0]"),
        ([{}], "missing_required_parameter", "items[1].content[0].type"),
        ([{"type": "output_texts", "text": "a"}], "invalid_value", "items[1].content[0]"),
        ([{"type": 3, "text": "a"}], "invalid_type", "items[1].content[0].type"),
        ([{"type": "input_text", "text": 1}], "invalid_type", "items[1].content[0].text"),
        ([{"type": "input_text", "text": None}], "invalid_type", "items[1].content[0].text"),
        ([{"type": "input_text"}], "missing_required_parameter", "items[1].content[0].text"),
        ([{"type": "input_image", "image_url": {"url": "x"}}], "invalid_type", "items[1].content[0].image_url"),
        ([{"type": "input_image", "detail": "ultra"}], "invalid_value", "items[1].content[0].detail"),
    ],
)
def test_wrong_content_is_refused_with_its_path(connection, http, content, code, param):
    conversation = create(http)
    body = json.dumps({"items": [user("a"), {"role": "user", "content": content}]}).encode()
    for path in (f"{CONVERSATIONS}/{conversation}/items", CONVERSATIONS):
        assert_error(connection.send("POST", path, body), 400, code, param)
    assert items_of(http, conversation) == []


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        ({"type": "function_call", "name": "f", "arguments": "{}"}, "missing_required_parameter", "items[0].call_id"),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}, "invalid_type", "items[0].arguments"),
        ({"type": "function_call_output", "call_id": "c"}, "missing_required_parameter", "items[0].output"),
        ({"type": "function_call_output", "output": "x"}, "missing_required_parameter", "items[0].call_id"),
        (
            {"type": "function_call_output", "call_id": "c" * 65, "output": "x"},
            "string_above_max_length",
            "items[0].call_id",
        ),
        ({"type": "reasoning", "id": "rs_1"}, "missing_required_parameter", "items[0].summary"),
        (
            {"type": "file_search_call", "status": "completed", "queries": []},
            "missing_required_parameter",
            "items[0].id",
        ),
        ({"type": "message", "role": "user", "content": "a", "status": "done"}, "invalid_value", "items[0].status"),
        ({"type": "agent_message", "content": "a"}, "invalid_value", "items[0]"),
        ({"type": 5}, "invalid_type", "items[0].type"),
        ({"type": "message", "role": 5, "content": "a"}, "invalid_type", "items[0].role"),
        ("hi", "invalid_type", "items[0]"),
        ([], "invalid_type", "items[0]"),
    ],
)
def test_a_wrong_item_is_refused_with_its_path(connection, item, code, param):
    assert_error(connection.send("POST", CONVERSATIONS, json.dumps({"items": [item]}).encode()), 400, code, param)


def test_a_long_value_is_not_quoted_whole(connection):
    body = json.dumps({"items": [{"role": "x" * 100_000, "content": "a"}]}).encode()
    assert len(assert_error(connection.send("POST", CONVERSATIONS, body), 400, "invalid_value", "items[0]")) < 1000
    body = json.dumps({"y" * 100_000: 1}).encode()
    assert len(connection.send("POST", CONVERSATIONS, body).error["message"]) < 1000


def test_what_looks_like_markup_or_a_format_is_quoted_as_it_is(connection):
    odd = "{0} %s {self} <b>\u2028"
    body = json.dumps({"items": [{"type": odd}]}).encode()
    assert odd in assert_error(connection.send("POST", CONVERSATIONS, body), 400, "invalid_value", "items[0]")


# ------------------------------------------------------------------------------------------------------------- size

LIMIT = 10_000


@pytest.fixture
def small(new_server):
    """A server that takes bodies of 10,000 bytes, and a connection to it."""
    server = new_server(server={"limits": {"max_body_bytes": LIMIT}}).start()
    with Connection(server.root_url) as connection:
        yield connection
        connection.assert_usable()


def body_of(size):
    empty = json.dumps({"items": [user("")]}).encode()
    return json.dumps({"items": [user("x" * (size - len(empty)))]}).encode()


def in_chunks(body, size=1000):
    return (body[start : start + size] for start in range(0, len(body), size))


def test_a_body_up_to_the_limit_is_taken_and_one_above_is_refused(small):
    assert small.send("POST", CONVERSATIONS, body_of(LIMIT)).status == 200
    assert small.send("POST", CONVERSATIONS, in_chunks(body_of(LIMIT))).status == 200
    newest = small.send("GET", CONVERSATIONS).body
    for size in (LIMIT + 1, LIMIT * 100):
        message = assert_error(small.send("POST", CONVERSATIONS, body_of(size)), 413, "request_too_large")
        assert str(LIMIT) in message
        small.assert_usable()
    assert small.send("GET", CONVERSATIONS).body == newest


def test_a_body_that_says_nothing_of_its_size_is_refused_once_it_is_too_large(small):
    answer = small.send("POST", CONVERSATIONS, in_chunks(body_of(LIMIT * 100)))
    assert_error(answer, 413, "request_too_large")


def test_a_body_of_33_megabytes_is_refused_by_default(connection):
    body = body_of(33 * 1024 * 1024)
    assert_error(connection.send("POST", CONVERSATIONS, body), 413, "request_too_large")


TINY = {"arrays": b"[]", "objects": b"{}", "numbers": b"1", "texts": b'""', "pairs": b'{"a":1}'}


@pytest.mark.parametrize("member", TINY.values(), ids=TINY)
def test_a_body_of_millions_of_tiny_values_is_refused(connection, member):
    count = 31 * 1024 * 1024 // (len(member) + 1)
    body = b'{"items":[' + b",".join([member] * count) + b"]}"
    message = assert_error(connection.send("POST", CONVERSATIONS, body), 400, "invalid_json")
    assert "more than 1,000,000 values" in message


@pytest.mark.databases("sqlite", "postgres")
def test_a_large_image_and_a_large_text_full_of_commas_are_taken(connection, http):
    image = "data:image/png;base64," + "iVBORw0K" * 2_500_000
    text = '1,2\t"3"\n' * 1_250_000
    parts = [{"type": "input_image", "image_url": image}, {"type": "input_text", "text": 'What,\n"is" this?'}]
    for content, key, value in ((parts, "image_url", image), (text, "text", text)):
        path = f"{CONVERSATIONS}/{create(http)}/items?include[]={SHOW_IMAGES}"
        answer = connection.send("POST", path, json.dumps({"items": [user(content)]}).encode())
        assert answer.status == 200, answer.body[:1000]
        assert json.loads(answer.body)["data"][0]["content"][0][key] == value


# ------------------------------------------------------------------------------------------------------ below HTTP


def test_a_head_of_a_million_fields_is_refused(server):
    with Connection(server.root_url) as connection:
        answer = connection.send_raw(b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\n" + b"a:b\r\n" * 1_000_000)
        assert_error(answer, 431, None)


def test_a_body_is_read_also_of_a_client_that_offers_http_2(connection, http):
    headers = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAEAAEAA"}
    answer = connection.send("POST", CONVERSATIONS, b'{"metadata":{"a":"b"}}', headers)
    assert json.loads(answer.body)["metadata"] == {"a": "b"}


@pytest.mark.parametrize(
    "request_line",
    [
        b"BREW /v1/health HTTP/1.1",
        "GET /v1/conversations/é HTTP/1.1".encode(),
        b"GET /v1/conversations/\xff HTTP/1.1",
        b"GET /v1/health HTTP/7.3",
        b"nonsense",
    ],
    ids=repr,
)
def test_what_is_not_http_gets_the_envelope_too(server, request_line):
    with Connection(server.root_url) as connection:
        answer = connection.send_raw(request_line + b"\r\nhost: x\r\n\r\n")
        assert_error(answer, 400, None)
