"""The tools, and the ways to list them."""

from __future__ import annotations

import base64
import json
import os

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    ImageContent,
    InputRequiredResult,
    ListToolsResult,
    PaginatedRequestParams,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
    ToolAnnotations,
)

from scripted_mcp.journal import Journal

PIXELS = base64.b64encode(b"twelve bytes").decode()

NUMBERS: dict[str, object] = {
    "type": "object",
    "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
    "required": ["a", "b"],
}
SUM: dict[str, object] = {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}
ANYTHING: dict[str, object] = {"type": "object"}

LISTINGS = ("plain", "pages", "circle", "endless", "bulky", "odd", "many")
"""``pages``: 25 tools, ten on a page. ``circle``: the second page leads to itself. ``endless``: empty pages for ever.
``bulky``: every page holds a megabyte. ``odd``: the names of ``ODD_NAMES``. ``many``: 200 tools."""

ODD_NAMES = (
    "files.read",
    "files read",
    "files_read",
    "b" * 70,
    "b" * 69 + "c",
    "天气",
    "-",
    "web_search",
    "web_search",
)
"""Names that chat completions refuse, or that become the same there, or that stand twice. Each tool says its own."""

_FIXED: dict[str, list[ContentBlock]] = {
    "parts": [TextContent(text="first"), TextContent(text="second")],
    "nothing": [],
    "picture": [ImageContent(data=PIXELS, mime_type="image/png")],
    "sound": [TextContent(text="listen:"), AudioContent(data=PIXELS, mime_type="audio/wav")],
    "document": [EmbeddedResource(resource=TextResourceContents(uri="file:///a.txt", text="what it says"))],
    "archive": [EmbeddedResource(resource=BlobResourceContents(uri="file:///a.zip", blob=PIXELS))],
    "link": [ResourceLink(name="report", uri="https://example.com/r.pdf", mime_type="application/pdf")],
}


def tool_server(journal: Journal) -> Server[object]:
    """The protocol's side of it."""
    tools = Tools(journal)
    return Server("scripted", version="1.0", on_list_tools=tools.list, on_call_tool=tools.call)


class Tools:
    """What the tools do."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def list(self, context: ServerRequestContext, params: PaginatedRequestParams | None) -> ListToolsResult:
        page = int(params.cursor) if params is not None and params.cursor else 0
        match context.request.query_params.get("listing", "plain"):
            case "pages":
                names = [f"tool_{number:02}" for number in range(page * 10, min(page * 10 + 10, 25))]
                following = str(page + 1) if page < 2 else None
                tools = [Tool(name=name, input_schema=ANYTHING) for name in names]
                return ListToolsResult(tools=tools, next_cursor=following)
            case "circle":
                return ListToolsResult(tools=[], next_cursor="1")
            case "endless":
                return ListToolsResult(tools=[], next_cursor=str(page + 1))
            case "bulky":
                bulk = Tool(name=f"tool_{page}", description="x" * 1_000_000, input_schema=ANYTHING)
                return ListToolsResult(tools=[bulk], next_cursor=str(page + 1))
            case "odd":
                return ListToolsResult(tools=[Tool(name=name, input_schema=ANYTHING) for name in ODD_NAMES])
            case "many":
                names = [f"tool_{number}" for number in range(200)]
                return ListToolsResult(tools=[Tool(name=name, input_schema=ANYTHING) for name in names])
        return ListToolsResult(tools=_plain_tools())

    async def call(
        self, context: ServerRequestContext, params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        given = params.arguments or {}
        match params.name:
            case "echo" | "mirrored":
                return _text(str(given["text"]))
            case "add":
                total = given["a"] + given["b"]
                return CallToolResult(content=[TextContent(text=f"{total}")], structured_content={"sum": total})
            case "headers":
                return _text(json.dumps(dict(context.request.headers)))
            case "slow":
                await self._journal.pass_gate(str(given["gate"]))
                return _text("done")
            case "resumed":  # the answer's stream ends, and the rest of it is fetched by another request
                assert context.close_sse_stream is not None
                await context.close_sse_stream()
                return _text("after all")
            case "fails":
                return CallToolResult(content=[TextContent(text="no such city")], is_error=True)
            case "refuses":
                raise MCPError(-32050, "the moon is not full")
            case "crashes":
                os._exit(1)
            case "structured":
                return CallToolResult(content=[], structured_content={"city": "Oslo", "degrees": -3.5})
            case "lies":
                return CallToolResult(content=[TextContent(text="four")], structured_content={"sum": "four"})
            case "asks":
                form = ElicitRequestFormParams(
                    message="Which one?", requested_schema={"type": "object", "properties": {}}
                )
                return InputRequiredResult(input_requests={"which": ElicitRequest(params=form)})
            case name if name in ODD_NAMES:
                return _text(name)
            case name if name in _FIXED:
                return CallToolResult(content=_FIXED[name])
        raise MCPError(-32602, f"Unknown tool: {params.name}")


def _text(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)])


def _plain_tools() -> list[Tool]:
    hints = ToolAnnotations(title="Sum", read_only_hint=True)
    add = Tool(name="add", description="Adds.", input_schema=NUMBERS, output_schema=SUM, annotations=hints)
    others = ["asks", "crashes", "echo", "fails", "headers", "refuses", "resumed", "slow", "structured", *_FIXED]
    mirrored = {"type": "object", "properties": {"text": {"type": "string", "x-mcp-header": "Text"}}}
    return [
        add,
        Tool(name="lies", input_schema=ANYTHING, output_schema=SUM),
        Tool(name="mirrored", input_schema=mirrored),
        *(Tool(name=name, description=f"Tool {name}.", input_schema=ANYTHING) for name in sorted(others)),
    ]
