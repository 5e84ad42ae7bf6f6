"""Images, files and audio in input and in tool outputs; what models that take none are given instead."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import httpx2
import pytest

from harness.answers import refused
from harness.conversations import create, items_of, user
from harness.turns import messages_for, post, turn
from scripted_model import ScriptedModel

IMAGE = "data:image/png;base64,aGVsbG8="
URL = "https://example.com/a.png"


def data_url(data: bytes, media_type: str) -> str:
    """A file's content as clients send it."""
    return f"data:{media_type};base64,{b64encode(data).decode()}"


def pdf(words: str) -> bytes:
    """A PDF of one page that says something."""
    content = f"BT /F1 24 Tf 72 720 Td ({words}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 5 0 R /Resources << /Font << /F1 4 0 R >> >> >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
    ]
    body, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, text)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    end = b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<< /Size %d /Root 1 0 R >>\n" % (size, table, size)
    return body + end + b"startxref\n%d\n%%%%EOF\n" % len(body)


def file(name: str, data: bytes, media_type: str) -> dict[str, Any]:
    """A file as a part of a message."""
    return {"type": "input_file", "filename": name, "file_data": data_url(data, media_type)}


def said(tag: str, *parts: dict[str, Any]) -> list[dict[str, Any]]:
    """A user's message of parts."""
    return [user([{"type": "input_text", "text": f"tag={tag}"}, *parts])]


def told_parts(model: ScriptedModel, tag: str) -> list[dict[str, Any]]:
    """What the model was told behind the text."""
    [message] = messages_for(model, tag)
    parts: list[dict[str, Any]] = message["content"][1:]
    return parts


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"image_url": URL}, {"url": URL}),
        ({"image_url": IMAGE, "detail": "high"}, {"url": IMAGE, "detail": "high"}),
        ({"image_url": IMAGE, "detail": "auto"}, {"url": IMAGE}),
    ],
    ids=["url", "inline", "auto"],
)
def test_images_are_passed_on(
    http: httpx2.Client, model: ScriptedModel, tag: str, part: dict[str, str], told: dict[str, str]
) -> None:
    turn(http, "echo", said(tag, {"type": "input_image", **part}))
    assert told_parts(model, tag) == [{"type": "image_url", "image_url": told}]


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (file("a.txt", b"plain text", "text/plain"), '<file name="a.txt">\nplain text\n</file>'),
        (file("a.json", b'{"a": 1}', "application/json"), '<file name="a.json">\n{"a": 1}\n</file>'),
        (file("a.pdf", pdf("Hello from a page"), "application/pdf"), "Hello from a page"),
        (file("a.pdf", pdf("Given a wrong type"), "application/octet-stream"), "Given a wrong type"),
        ({"type": "input_file", "file_data": b64encode(b"bare").decode()}, "<file>\nbare\n</file>"),
    ],
    ids=["text", "json", "pdf", "pdf of unknown type", "bare base64"],
)
def test_the_text_of_files_is_told(
    http: httpx2.Client, model: ScriptedModel, tag: str, part: dict[str, Any], text: str
) -> None:
    turn(http, "echo", said(tag, part))
    [told] = told_parts(model, tag)
    assert told["type"] == "text"
    assert text in told["text"]


def test_a_file_of_a_conversation_is_told_in_every_turn(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    conversation_id = create(http, [user([file("a.pdf", pdf("Once"), "application/pdf")])])
    for number in range(2):
        turn(http, "echo", f"tag={tag}-{number}", conversation=conversation_id)
        assert "Once" in messages_for(model, f"{tag}-{number}")[0]["content"][0]["text"]
    assert items_of(http, conversation_id)[0]["content"][0]["filename"] == "a.pdf"


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("part", "code", "what"),
    [
        (file("a.pdf", b"%PDF-1.4 nonsense", "application/pdf"), "invalid_value", "'a.pdf'"),
        (file("a.png", b"\x89PNG\x00\x00", "image/png"), "unsupported_parameter", "image/png"),
        ({"type": "input_file", "filename": "a", "file_data": "data:text/plain;base64,%%"}, "invalid_value", "base64"),
        (file("a.txt", b"a" * 2_000_001, "text/plain"), "invalid_value", "more than 2000000 characters"),
        ({"type": "input_file", "file_url": "https://example.com/a.pdf"}, "unsupported_parameter", "file_url"),
        ({"type": "input_file", "file_id": "file_1"}, "unsupported_parameter", "file_id"),
        ({"type": "input_image", "file_id": "file_1"}, "unsupported_parameter", "file_id"),
    ],
    ids=["broken", "no text", "no base64", "too long", "by url", "by id", "image by id"],
)
def test_what_cannot_be_read_is_refused_and_leaves_no_lock(
    http: httpx2.Client, tag: str, part: dict[str, Any], code: str, what: str, streamed: bool
) -> None:
    conversation_id = create(http)
    for _ in range(2):
        answer = post(http, "echo", said(tag, part), conversation=conversation_id, stream=streamed)
        assert what in refused(answer, 400, code, "input")
    assert items_of(http, conversation_id) == []


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"type": "input_image", "image_url": "data:image/png;base64," + "A" * 20_971_520}, "image_url"),
        ({"type": "input_text", "text": "a" * 10_485_761}, "text"),
    ],
    ids=["image", "text"],
)
def test_what_is_too_large_is_refused_by_its_path(
    http: httpx2.Client, tag: str, part: dict[str, Any], path: str
) -> None:
    message = refused(
        post(http, "echo", said(tag, part)), 400, "string_above_max_length", f"input[0].content[1].{path}"
    )
    assert len(message) < 1000


def test_images_that_a_tool_answers_with_follow_its_text_as_a_users(
    http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    output = [
        {"type": "input_text", "text": "Here: "},
        {"type": "input_image", "image_url": IMAGE},
        file("a.txt", b"and notes", "text/plain"),
    ]
    items = [
        user(f"tag={tag}"),
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": output},
    ]
    turn(http, "echo", items)
    [_, _, answer, picture] = model.requests(count=1)[-1].body["messages"]
    assert answer == {
        "role": "tool",
        "tool_call_id": "c1",
        "content": 'Here: <file name="a.txt">\nand notes\n</file>',
    }
    assert picture == {"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE}}]}


def test_audio_is_passed_on(http: httpx2.Client, model: ScriptedModel, tag: str) -> None:
    audio = {"data": "aGVsbG8=", "format": "wav"}
    turn(http, "echo", said(tag, {"type": "input_audio", "input_audio": audio}))
    assert told_parts(model, tag) == [{"type": "input_audio", "input_audio": audio}]
