"""What each type of item says in a chat, and that none is forgotten."""

from __future__ import annotations

import orjson
import pytest

from harness.event_stream import JsonObject
from llama_conversations.errors import UnsupportedParameter
from llama_conversations.services.responses.chat_parts import Answer, Call, Speech, _ReadFiles, call_ids, utterances
from llama_conversations.wire.content import InputFile
from llama_conversations.wire.items import INPUT_ITEM, Item
from unit.wire.item_samples import REQUIRED

IMAGE = "https://example.com/a.png"


def unseal(token: str) -> str | None:
    return token.removeprefix("sealed:") if token.startswith("sealed:") else None


def read(*written: JsonObject) -> list[Item]:
    return [INPUT_ITEM.validate_python(item) for item in written]  # type: ignore[misc]


def said(kind: str, **fields: object) -> list[object]:
    """What the sample of a type says, its arguments as JSON."""
    return [
        (spoken.call_id, spoken.name, orjson.loads(spoken.arguments)) if isinstance(spoken, Call) else spoken
        for spoken in utterances(read(REQUIRED[kind] | fields), unseal)
    ]


SAID: dict[str, list[object]] = {
    "message": [Speech("user", "hi")],
    "function_call": [("call_1", "f", {})],
    "function_call_output": [Answer("call_1", "42")],
    "custom_tool_call": [("call_1", "f", {"input": "x"})],
    "custom_tool_call_output": [Answer("call_1", "y")],
    "computer_call": [("call_1", "computer", {})],
    "computer_call_output": [
        Answer("call_1", "A screenshot.", [{"type": "image_url", "image_url": {"url": IMAGE}}]),
    ],
    "local_shell_call": [("call_1", "local_shell", {"type": "exec", "command": ["ls"], "env": {}})],
    "local_shell_call_output": [Answer("lsho_1", "{}")],
    "shell_call": [("call_1", "shell", {"commands": ["ls"]})],
    "shell_call_output": [Answer("call_1", '[{"stdout":"","stderr":"","outcome":{"type":"exit","exit_code":0}}]')],
    "apply_patch_call": [("call_1", "apply_patch", {"type": "delete_file", "path": "a"})],
    "apply_patch_call_output": [Answer("call_1", "failed")],
}
SILENT = REQUIRED.keys() - SAID.keys()


@pytest.mark.parametrize("kind", REQUIRED)
def test_every_type_of_item_says_what_is_written_here_or_nothing(kind: str) -> None:
    assert said(kind) == SAID.get(kind, [])


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("function_call", {"status": "incomplete"}, []),
        ("custom_tool_call", {"status": "incomplete"}, []),
        ("local_shell_call_output", {"call_id": "call_1"}, [Answer("call_1", "{}")]),
        ("apply_patch_call_output", {"output": "no such file"}, [Answer("call_1", "no such file")]),
        ("mcp_call", {"output": "42"}, [("mcp_1", "f", {}), Answer("mcp_1", "42")]),
        ("mcp_call", {"output": ""}, [("mcp_1", "f", {}), Answer("mcp_1", "")]),
        ("mcp_call", {"name": "files.read", "output": "1"}, [("mcp_1", "files_read", {}), Answer("mcp_1", "1")]),
        ("file_search_call", {"results": []}, []),
        ("compaction", {"encrypted_content": "sealed:short"}, [
            Speech("user", "Summary of the conversation so far:\n\nshort")
        ]),
        ("message", {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, [
            Speech("assistant", "No.")
        ]),
    ],
)  # fmt: skip
def test_what_an_item_holds_decides_what_it_says(kind: str, fields: JsonObject, expected: list[object]) -> None:
    assert said(kind, **fields) == expected


def test_hosted_tools_that_show_what_they_found_are_told_as_calls() -> None:
    [called, answered] = said("file_search_call", results=[{"file_id": "file_1", "text": "a"}])
    assert called == ("fs_1", "file_search", {"queries": ["q"]})
    assert isinstance(answered, Answer)
    assert "file_1" in answered.text
    [called, answered] = said("code_interpreter_call", code="1", outputs=[{"type": "logs", "logs": "one"}])
    assert called == ("ci_1", "code_interpreter", {"code": "1"})
    assert "one" in answered.text  # type: ignore[attr-defined]


def test_a_failed_tool_of_a_server_says_its_error() -> None:
    [_, answered] = said("mcp_call", error={"type": "http_error", "code": 500, "message": "broken"})
    assert answered.text.startswith("Error: {")  # type: ignore[attr-defined]
    assert "broken" in answered.text  # type: ignore[attr-defined]


def test_a_call_that_was_refused_is_told_with_the_reason_and_one_that_waits_not_at_all() -> None:
    asked = REQUIRED["mcp_approval_request"]
    refused = REQUIRED["mcp_approval_response"] | {"approve": False}
    for response, expected in (
        (REQUIRED["mcp_approval_response"], []),
        (refused, ["The user did not allow this call."]),
        (refused | {"reason": "Busy."}, ["The user did not allow this call. Busy."]),
    ):
        spoken = list(utterances(read(asked, response), unseal))
        assert [answer.text for answer in spoken if isinstance(answer, Answer)] == expected
        assert len(spoken) == 2 * len(expected)


def test_the_ids_of_all_calls_are_known() -> None:
    kinds = ("function_call", "custom_tool_call", "shell_call", "local_shell_call", "apply_patch_call", "computer_call")
    written = [REQUIRED[kind] | {"call_id": kind} for kind in kinds]
    assert call_ids(read(*written, REQUIRED["message"], REQUIRED["mcp_call"])) == set(kinds)


def test_a_screenshot_by_file_is_told_without_its_image() -> None:
    [answer] = said("computer_call_output", output={"type": "computer_screenshot", "file_id": "file_1"})
    assert answer == Answer("call_1", "A screenshot.", [])


def test_an_image_by_file_id_is_refused_and_its_detail_is_told() -> None:
    image = {"type": "input_image", "image_url": IMAGE, "detail": "low"}
    [spoken] = said("message", content=[image])
    assert spoken == Speech("user", [{"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}}])
    with pytest.raises(UnsupportedParameter):
        said("message", content=[{"type": "input_image", "file_id": "file_1"}])


def test_sound_and_files_are_parts_of_a_users_message() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "YQ==", "format": "wav"}}
    file = {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,SGVsbG8="}
    [spoken] = said("message", content=[sound, file])
    assert isinstance(spoken, Speech)
    heard, given = spoken.content  # type: ignore[misc]
    assert heard == {"type": "input_audio", "input_audio": {"data": "YQ==", "format": "wav"}}
    assert "Hello" in given["text"]  # type: ignore[index, call-overload]


def test_a_file_is_read_once_while_it_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    readings: list[str | None] = []

    def note(part: InputFile) -> str:
        readings.append(part.filename)
        return str(part.filename)

    monkeypatch.setattr("llama_conversations.services.responses.chat_parts.file_text", note)
    files = _ReadFiles(2)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert files.text(InputFile(type="input_file", filename=name, file_data="YQ==")) == name
    assert readings == ["a", "b", "c", "b"]
