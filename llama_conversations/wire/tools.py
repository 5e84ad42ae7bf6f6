"""Tools that a turn may use, and how the model is to choose among them."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints

from llama_conversations.wire.base import JsonValue, OpenModel, RequestModel
from llama_conversations.wire.unions import Array, ByJsonType, ByKey

FunctionName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern="^[a-zA-Z0-9_-]+$")]


class FunctionTool(OpenModel):
    """A function of the client's; ``parameters`` is a JSON schema."""

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: bool | None = None


class TextFormat(OpenModel):
    """Any text."""

    type: Literal["text"]


class GrammarFormat(OpenModel):
    """Text of a grammar."""

    type: Literal["grammar"]
    syntax: Literal["lark", "regex"]
    definition: str


class CustomTool(OpenModel):
    """A tool of the client's that takes plain text."""

    type: Literal["custom"]
    name: FunctionName
    description: str | None = None
    format: Annotated[TextFormat | GrammarFormat, ByKey("type")] | None = None


class McpToolFilter(RequestModel):
    """Tools of an MCP server: by name, or those that the server marks as changing nothing."""

    tool_names: Array[str] | None = None
    read_only: bool | None = None


class McpApproval(RequestModel):
    """Which tools are called only with the client's leave; ``never`` goes before ``always``."""

    always: McpToolFilter | None = None
    never: McpToolFilter | None = None


class McpServerTool(OpenModel):
    """The tools of an MCP server, which this server calls itself.

    ``server_url`` names any server that policy allows, ``connector_id`` one that the operator registered.
    """

    type: Literal["mcp"]
    server_label: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern="^[a-zA-Z][a-zA-Z0-9_-]*$")]
    server_url: str | None = None
    connector_id: str | None = None
    server_description: str | None = None
    authorization: str | None = None
    headers: dict[str, str] | None = None
    allowed_tools: Annotated[Array[str] | McpToolFilter, ByJsonType()] | None = None
    require_approval: Annotated[Literal["always", "never"] | McpApproval, ByJsonType()] | None = None


WebSearchType = Literal["web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"]
"""One tool under its name of today and its former ones."""

WEB_SEARCH_TYPES: tuple[WebSearchType, ...] = get_args(WebSearchType)


class WebSearchFilters(OpenModel):
    """Which pages may be found: those of these domains, and of their subdomains."""

    allowed_domains: Array[str] | None = None


class UserLocation(OpenModel):
    """Roughly where the user is; ``country`` is a two-letter code."""

    type: Literal["approximate"] = "approximate"
    country: str | None = None
    region: str | None = None
    city: str | None = None
    timezone: str | None = None


class WebSearchTool(OpenModel):
    """Searches of the web: by this server where it has a provider for them, otherwise by an upstream that can."""

    type: WebSearchType
    filters: WebSearchFilters | None = None
    user_location: UserLocation | None = None
    search_context_size: Literal["low", "medium", "high"] | None = None
    external_web_access: bool | None = None
    search_content_types: Array[str] | None = None


class OtherTool(OpenModel):
    """A tool of the API that this server does not run."""

    type: Literal[
        "apply_patch",
        "code_interpreter",
        "computer",
        "computer_use_preview",
        "file_search",
        "image_generation",
        "local_shell",
        "namespace",
        "programmatic_tool_calling",
        "shell",
        "tool_search",
    ]


Tool = Annotated[FunctionTool | CustomTool | McpServerTool | WebSearchTool | OtherTool, ByKey("type")]

ToolMode = Literal["none", "auto", "required"]


class FunctionChoice(OpenModel):
    """This function must be called."""

    type: Literal["function"]
    name: FunctionName


class CustomChoice(OpenModel):
    """This custom tool must be called."""

    type: Literal["custom"]
    name: FunctionName


class McpChoice(OpenModel):
    """A tool of this MCP server must be called: any, or the one named."""

    type: Literal["mcp"]
    server_label: str
    name: str | None = None


class AllowedTools(OpenModel):
    """Only these of the turn's tools may be called; each is named as ``{"type": "function", "name": …}``."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[Array[dict[str, JsonValue]], Field(min_length=1)]


class WebSearchChoice(OpenModel):
    """The web must be searched."""

    type: WebSearchType


class OtherChoice(OpenModel):
    """A choice among tools that this server does not run."""

    type: Literal[
        "apply_patch",
        "code_interpreter",
        "computer",
        "computer_use",
        "computer_use_preview",
        "file_search",
        "image_generation",
        "programmatic_tool_calling",
        "shell",
    ]


ToolChoiceObject = Annotated[
    FunctionChoice | CustomChoice | McpChoice | AllowedTools | WebSearchChoice | OtherChoice, ByKey("type")
]
