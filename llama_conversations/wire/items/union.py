"""Every type of item, in one table and one union."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, ClassVar, Generic, TypeVar, cast

from pydantic import ConfigDict, RootModel, TypeAdapter

from llama_conversations.wire.base import OpenModel
from llama_conversations.wire.items import calls, hosted, messages
from llama_conversations.wire.unions import Array, ByKey

__all__ = ["INPUT_ITEM", "ITEM_TYPES", "InputItem", "InputItems", "ItemType", "StoredItem"]


_T = TypeVar("_T")


def _type_of(value: object) -> object:
    """An item's type; without one, ``role`` makes it a message, and an ``id`` alone makes it a reference."""
    if not isinstance(value, dict):
        return getattr(value, "type", None) or ("item_reference" if isinstance(value, messages.ItemReference) else None)
    fields = cast("dict[str, object]", value)
    found = fields.get("type")
    if found is None:
        if "role" in fields:
            return "message"
        if "id" in fields and fields.keys() <= {"id", "type"}:
            return "item_reference"
    return found


_Storable = (
    messages.MessageByRole
    | calls.FunctionCall
    | calls.FunctionCallOutput
    | calls.CustomToolCall
    | calls.CustomToolCallOutput
    | messages.Reasoning
    | messages.Compaction
    | hosted.FileSearchCall
    | hosted.WebSearchCall
    | hosted.ImageGenerationCall
    | hosted.CodeInterpreterCall
    | hosted.ComputerCall
    | hosted.ComputerCallOutput
    | hosted.LocalShellCall
    | hosted.LocalShellCallOutput
    | hosted.ShellCall
    | hosted.ShellCallOutput
    | hosted.ApplyPatchCall
    | hosted.ApplyPatchCallOutput
    | calls.McpListTools
    | calls.McpApprovalRequest
    | calls.McpApprovalResponse
    | calls.McpCall
    | calls.ToolSearchCall
    | calls.ToolSearchOutput
    | calls.AdditionalTools
    | calls.Program
    | calls.ProgramOutput
)

InputItem = Annotated[_Storable | messages.CompactionTrigger | messages.ItemReference, ByKey("type", _type_of)]
"""What ``items`` of the Conversations API and ``input`` of the Responses API hold."""

InputItems = Array[InputItem]
"""A list of items, of which the first bad one is reported."""

INPUT_ITEM: TypeAdapter[InputItem] = TypeAdapter(InputItem, config=ConfigDict(defer_build=True))


class _Root(RootModel[_T], Generic[_T]):
    """Any root model, its validator made when it is first used: ``RootModel[...]`` makes one, too, and at once."""

    model_config: ClassVar[ConfigDict] = ConfigDict(defer_build=True)


class StoredItem(_Root[Annotated[_Storable, ByKey("type", _type_of)]]):
    """An item as a conversation holds and serves it, of whatever type; ``root`` is the item itself."""


@dataclass(frozen=True)
class ItemType:
    """What the server knows of a type of item.

    Args:
        model: Its wire model.
        prefix: How the ids begin that are made for it; ``None`` for what is never stored.
        prefix_checked: OpenAI's own ids are known to begin so: a turn's input with another prefix is refused.
        stored: What the stored form always has, with the value that stands for an absent one.
    """

    model: type[OpenModel]
    prefix: str | None
    prefix_checked: bool = True
    stored: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def storable(self) -> bool:
        """Whether a conversation can hold it."""
        return self.prefix is not None


_DONE = MappingProxyType({"status": "completed"})
_SEARCH = MappingProxyType({"status": "completed", "call_id": None, "execution": "client"})

ITEM_TYPES: Mapping[str, ItemType] = MappingProxyType(
    {
        "message": ItemType(messages.Message, "msg", stored=_DONE),
        "function_call": ItemType(calls.FunctionCall, "fc", stored=_DONE),
        "function_call_output": ItemType(calls.FunctionCallOutput, "fc", stored=_DONE),
        "custom_tool_call": ItemType(calls.CustomToolCall, "ctc", stored=_DONE),
        "custom_tool_call_output": ItemType(calls.CustomToolCallOutput, "ctco", False, _DONE),
        "reasoning": ItemType(messages.Reasoning, "rs"),
        "compaction": ItemType(messages.Compaction, "cmp"),
        "compaction_trigger": ItemType(messages.CompactionTrigger, None),
        "item_reference": ItemType(messages.ItemReference, None),
        "file_search_call": ItemType(hosted.FileSearchCall, "fs"),
        "web_search_call": ItemType(hosted.WebSearchCall, "ws"),
        "image_generation_call": ItemType(hosted.ImageGenerationCall, "ig"),
        "code_interpreter_call": ItemType(hosted.CodeInterpreterCall, "ci"),
        "computer_call": ItemType(hosted.ComputerCall, "cu"),
        "computer_call_output": ItemType(hosted.ComputerCallOutput, "cuo", False, _DONE),
        "local_shell_call": ItemType(hosted.LocalShellCall, "lsh"),
        "local_shell_call_output": ItemType(hosted.LocalShellCallOutput, "lsho", False),
        "shell_call": ItemType(
            hosted.ShellCall, "sh", stored=MappingProxyType({"status": "completed", "environment": None})
        ),
        "shell_call_output": ItemType(
            hosted.ShellCallOutput, "sho", stored=MappingProxyType({"status": "completed", "max_output_length": None})
        ),
        "apply_patch_call": ItemType(hosted.ApplyPatchCall, "apc"),
        "apply_patch_call_output": ItemType(hosted.ApplyPatchCallOutput, "apco", False),
        "mcp_list_tools": ItemType(calls.McpListTools, "mcpl"),
        "mcp_approval_request": ItemType(calls.McpApprovalRequest, "mcpr"),
        "mcp_approval_response": ItemType(calls.McpApprovalResponse, "mcpa", False),
        "mcp_call": ItemType(calls.McpCall, "mcp"),
        "tool_search_call": ItemType(calls.ToolSearchCall, "tsc", stored=_SEARCH),
        "tool_search_output": ItemType(calls.ToolSearchOutput, "tso", stored=_SEARCH),
        "additional_tools": ItemType(calls.AdditionalTools, "adt", False),
        "program": ItemType(calls.Program, "cm"),
        "program_output": ItemType(calls.ProgramOutput, "cmo"),
    }
)
