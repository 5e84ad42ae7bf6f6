"""What a tool server is sent beside the messages."""

from __future__ import annotations

import pytest

from llama_conversations.errors import ToolFailed
from llama_conversations_providers.tool_runtime.mcp.headers import credentials_in, request_headers


@pytest.mark.parametrize("token", ["abc", "Bearer abc", "bearer abc"])
def test_a_token_is_sent_as_a_bearer_token(token: str) -> None:
    assert request_headers("x", {}, token)["authorization"].lower() == "bearer abc"


def test_spaces_around_a_value_are_not_sent() -> None:
    assert request_headers("x", {"X-Key": " abc\t"}, None)["x-key"] == "abc"


def test_a_value_that_cannot_be_sent_is_not_shown() -> None:
    with pytest.raises(ToolFailed) as caught:
        request_headers("x", {"X-Key": "hidden\x00"}, None)
    assert "hidden" not in str(caught.value)


def test_all_that_was_given_counts_as_secret() -> None:
    found = credentials_in(request_headers("x", {"X-Key": "abc"}, "def"))
    assert found == ["abc", "Bearer def", "def"]
