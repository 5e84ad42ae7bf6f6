"""From what a tool server answers to what the API for tools speaks of."""

from __future__ import annotations

from typing import cast

import orjson
from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
)

from llama_conversations.apis.tools import ToolDefinition, ToolResult
from llama_conversations.wire.base import JsonValue


def definition_of(tool: Tool) -> ToolDefinition:
    """A tool as its server lists it."""
    annotations = tool.annotations.model_dump(by_alias=True, exclude_none=True) if tool.annotations else None
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        input_schema=cast("dict[str, JsonValue]", tool.input_schema),
        annotations=annotations,
    )


def result_of(result: CallToolResult, max_characters: int) -> ToolResult:
    """The parts of an answer, a line or more each; structured content where no part is text.

    What is longer than ``max_characters`` is cut, and says so: a model that is told too much cannot answer at all.
    """
    lines = [_text_of(part) for part in result.content]
    if result.structured_content is not None and not any(_is_text(part) for part in result.content):
        lines.append(orjson.dumps(result.structured_content).decode())
    return ToolResult(_cut("\n".join(lines), max_characters), is_error=result.is_error)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}\n[{len(text) - length} more characters were left out]"


def _is_text(part: ContentBlock) -> bool:
    return isinstance(_content_of(part), TextContent | TextResourceContents)


def _text_of(part: ContentBlock) -> str:
    """Text as it is; of everything else, what it is."""
    match content := _content_of(part):
        case TextContent() | TextResourceContents():
            return content.text
        case ImageContent():
            return f"[image: {content.mime_type}, {_size(content.data)}]"
        case AudioContent():
            return f"[audio: {content.mime_type}, {_size(content.data)}]"
        case BlobResourceContents():
            return f"[resource: {content.uri}, {content.mime_type or 'unknown type'}, {_size(content.blob)}]"
        case ResourceLink():
            facts = [content.name, content.uri, content.mime_type, content.description]
            return f"[resource: {', '.join(fact for fact in facts if fact)}]"


def _content_of(
    part: ContentBlock,
) -> TextContent | ImageContent | AudioContent | ResourceLink | TextResourceContents | BlobResourceContents:
    return part.resource if isinstance(part, EmbeddedResource) else part


def _size(base64: str) -> str:
    return f"{len(base64.rstrip('=')) * 3 // 4} bytes"
