"""From a tool's answer to the text that the model reads."""

from __future__ import annotations

import base64

import pytest
from mcp.types import (
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from llama_conversations.apis.tools import ToolResult
from llama_conversations_providers.tool_runtime.mcp.results import result_of

IMAGE = ImageContent(data="AAAA", mime_type="image/png")
DOCUMENT = EmbeddedResource(resource=TextResourceContents(uri="file:///a", text="a text"))


@pytest.mark.parametrize(
    ("content", "structured", "text"),
    [
        ([TextContent(text="t")], {"a": 1}, "t"),
        ([DOCUMENT], {"a": 1}, "a text"),
        ([], {"a": 1}, '{"a":1}'),
        ([IMAGE], {"a": 1}, '[image: image/png, 3 bytes]\n{"a":1}'),
        ([], [1, "ü"], '[1,"ü"]'),
        ([], 0, "0"),
        ([], None, ""),
    ],
)
def test_structured_content_stands_in_for_text_that_is_missing(
    content: list[ContentBlock], structured: object, text: str
) -> None:
    assert result_of(CallToolResult(content=content, structured_content=structured), 1000) == ToolResult(text)


def test_a_failure_keeps_its_text() -> None:
    failed = CallToolResult(content=[TextContent(text="no"), IMAGE], is_error=True)
    assert result_of(failed, 1000) == ToolResult("no\n[image: image/png, 3 bytes]", is_error=True)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 100])
def test_sizes_are_those_of_the_data_and_not_of_its_base64(size: int) -> None:
    image = ImageContent(data=base64.b64encode(b"x" * size).decode(), mime_type="image/png")
    assert result_of(CallToolResult(content=[image]), 1000).text == f"[image: image/png, {size} bytes]"


def test_a_link_tells_what_is_known_of_it() -> None:
    link = ResourceLink(name="r", uri="https://a.example/r", description="yearly")
    assert result_of(CallToolResult(content=[link]), 1000).text == "[resource: r, https://a.example/r, yearly]"


def test_an_answer_that_is_too_long_is_cut_and_says_so() -> None:
    parts: list[ContentBlock] = [TextContent(text="a" * 6), TextContent(text="b" * 6)]
    assert result_of(CallToolResult(content=parts), 13).text == "aaaaaa\nbbbbbb"
    assert result_of(CallToolResult(content=parts), 12).text == "aaaaaa\nbbbbb\n[1 more characters were left out]"
