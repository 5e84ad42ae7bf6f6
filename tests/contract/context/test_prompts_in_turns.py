"""Stored prompts as the beginning of a turn: which version, and values that are texts, images or files."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.turns import messages_for, post, stream, turn
from scripted_model import ScriptedModel

IMAGE = "data:image/png;base64,aGVsbG8="
NOTES = {"type": "input_file", "filename": "notes.txt", "file_data": "data:text/plain;base64,aGVsbG8="}


@pytest.fixture
def prompt_id(http: httpx2.Client) -> str:
    """A prompt of two versions, of which the first has one variable and the second, the default, two."""
    prompt_id: str = ok(http.post("/prompts", json={"prompt": "Speak {{how}}.", "variables": ["how"]}))["prompt_id"]
    newer = {"prompt": "Speak {{how}} of {{what}}.", "version": 1, "variables": ["how", "what"]}
    ok(http.post(f"/prompts/{prompt_id}", json=newer))
    return prompt_id


def test_a_prompt_stands_before_instructions_and_input(
    http: httpx2.Client, model: ScriptedModel, tag: str, prompt_id: str
) -> None:
    prompt = {"id": prompt_id, "variables": {"how": "softly", "what": "{{how}}"}}
    response = stream(http, "echo", f"tag={tag}", prompt=prompt, instructions="Be brief.").response
    assert messages_for(model, tag) == [
        {"role": "system", "content": "Speak softly of {{how}}.\n\nBe brief."},
        {"role": "user", "content": f"tag={tag}"},
    ]
    assert response["prompt"] == prompt
    assert response["instructions"] == "Be brief."


def test_a_version_can_be_named_and_input_may_be_empty(http: httpx2.Client, prompt_id: str) -> None:
    prompt = {"id": prompt_id, "version": "1", "variables": {"how": "softly"}}
    assert turn(http, "echo", "", prompt=prompt)["prompt"] == prompt
    assert turn(http, "echo", [], prompt=prompt)["status"] == "completed"


def test_values_may_be_parts(http: httpx2.Client, model: ScriptedModel, tag: str, prompt_id: str) -> None:
    variables = {"how": {"type": "input_image", "image_url": IMAGE, "detail": "low"}, "what": NOTES}
    turn(http, "echo", f"tag={tag}", prompt={"id": prompt_id, "variables": variables}, instructions="Be brief.")
    [instructions, prompt, _] = messages_for(model, tag)
    assert (instructions["role"], prompt["role"]) == ("system", "user")
    assert [part["type"] for part in prompt["content"]] == ["text", "image_url", "text", "text", "text"]
    assert prompt["content"][1]["image_url"] == {"url": IMAGE, "detail": "low"}
    assert prompt["content"][3]["text"] == '<file name="notes.txt">\nhello\n</file>'


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({}, 400, "missing_required_parameter", "prompt.variables.how"),
        ({"variables": {"how": "a"}}, 400, "missing_required_parameter", "prompt.variables.what"),
        ({"variables": {"how": "a", "what": "b", "x": "c"}}, 400, "unknown_parameter", "prompt.variables.x"),
        ({"variables": {"how": "a", "what": 5}}, 400, "invalid_type", "prompt.variables.what"),
        ({"variables": {"how": "a", "what": {"type": "magic"}}}, 400, "invalid_value", "prompt.variables.what"),
        ({"version": "x"}, 400, "invalid_value", "prompt.version"),
        ({"version": "9"}, 404, None, None),
        ({"id": "pmpt_" + "0" * 48}, 404, None, None),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_by_its_path(
    http: httpx2.Client,
    prompt_id: str,
    fields: dict[str, Any],
    status: int,
    code: str | None,
    param: str | None,
    streamed: bool,
) -> None:
    refused(post(http, prompt={"id": prompt_id} | fields, stream=streamed), status, code, param)


def test_a_prompt_is_not_inherited(http: httpx2.Client, model: ScriptedModel, tag: str, prompt_id: str) -> None:
    first = turn(http, prompt={"id": prompt_id, "version": "1", "variables": {"how": "softly"}})
    turn(http, "echo", f"tag={tag}", previous_response_id=first["id"])
    assert [message["role"] for message in messages_for(model, tag)] == ["user", "assistant", "user"]
