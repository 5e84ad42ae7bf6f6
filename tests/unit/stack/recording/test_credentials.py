"""What opens a tool's server is not recorded: neither in requests nor where answers echo it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llama_conversations.stack.recording.answers import Answer
from llama_conversations.stack.recording.credentials import without_credentials
from llama_conversations.stack.recording.folder import Recording, written

SERVER = {
    "type": "mcp",
    "server_label": "tools",
    "server_url": "https://me:hunter2@tools.example/mcp?api_key=hunter3",
    "authorization": "hunter4",
    "headers": {"Authorization": "Bearer hunter5", "X-Anything": "hunter6"},
    "require_approval": "never",
}


def test_credentials_are_hidden_and_all_else_stays() -> None:
    hidden: Any = without_credentials({"tools": [SERVER]})
    assert "hunter" not in json.dumps(hidden)
    [tool] = hidden["tools"]
    assert tool["server_url"].startswith("https://me:")
    assert tool["headers"] == {"Authorization": "<secret>", "X-Anything": "<secret>"}
    assert (tool["server_label"], tool["require_approval"]) == ("tools", "never")


def test_an_answer_that_echoes_them_is_written_without() -> None:
    chunk = json.dumps({"type": "response.created", "response": {"tools": [SERVER]}}).encode()
    text = written(Recording("stream_responses", {}, [Answer([chunk, chunk]), Answer([chunk])]))
    assert "hunter" not in text
    assert text.count('"server_label"') == 3


@pytest.mark.parametrize(
    "value",
    [
        {"type": "mcp", "server_url": "https://tools.example/mcp", "authorization": None, "headers": None},
        {"type": "mcp", "connector_id": "c"},
        {"properties": {"server_url": {"type": "string"}, "headers": {"type": "object"}, "authorization": {}}},
        {"messages": [{"role": "user", "content": "authorization: hunter2"}], "max_tokens": 5},
        ["authorization", 1, None, True],
    ],
)
def test_what_is_no_credential_stays_as_it_is(value: Any) -> None:
    assert without_credentials(value) == value
