"""Tools that a turn may use, and how the model is to choose among them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from llama_conversations.wire.base import JsonValue, OpenModel
from llama_conversations.wire.unions import Array, ByKey

FunctionName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern="^[a-zA-Z0-9_-]+$")]


class FunctionTool(OpenModel):
    """A function of the client's; ``parameters`` is a JSON schema."""

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: bool | None = None


class OtherTool(OpenModel):
    """A tool of the API that this server does not run."""

    type: Literal[
        "apply_patch",
        "code_interpreter",
        "computer",
        "computer_use_preview",
        "custom",
        "file_search",
        "image_generation",
        "local_shell",
        "mcp",
        "namespace",
        "programmatic_tool_calling",
        "shell",
        "tool_search",
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    ]


Tool = Annotated[FunctionTool | OtherTool, ByKey("type")]

ToolMode = Literal["none", "auto", "required"]


class FunctionChoice(OpenModel):
    """This function must be called."""

    type: Literal["function"]
    name: FunctionName


class AllowedTools(OpenModel):
    """Only these of the turn's tools may be called; each is named as ``{"type": "function", "name": …}``."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[Array[dict[str, JsonValue]], Field(min_length=1)]


class OtherChoice(OpenModel):
    """A choice among tools that this server does not run."""

    type: Literal[
        "apply_patch",
        "code_interpreter",
        "computer",
        "computer_use",
        "computer_use_preview",
        "custom",
        "file_search",
        "image_generation",
        "mcp",
        "programmatic_tool_calling",
        "shell",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    ]


ToolChoiceObject = Annotated[FunctionChoice | AllowedTools | OtherChoice, ByKey("type")]
