"""Tools that a server or a machine carries out: search, images, code, computer, shells, patches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from llama_conversations.wire.base import OpenModel
from llama_conversations.wire.content import ComputerScreenshot, LongText
from llama_conversations.wire.items.base import Caller, CallId, Item, KnownItem, Status
from llama_conversations.wire.unions import Array, ByKey

__all__ = [
    "ApplyPatchCall",
    "ApplyPatchCallOutput",
    "CodeInterpreterCall",
    "ComputerCall",
    "ComputerCallOutput",
    "FileSearchCall",
    "ImageGenerationCall",
    "LocalShellCall",
    "LocalShellCallOutput",
    "SafetyCheck",
    "ShellCall",
    "ShellCallOutput",
    "WebSearch",
    "WebSearchCall",
]

FilePathText = Annotated[str, StringConstraints(min_length=1)]


class FileSearchCall(KnownItem):
    """A search in vector stores; ``results`` are shown on demand."""

    type: Literal["file_search_call"]
    status: Literal["in_progress", "searching", "completed", "incomplete", "failed"]
    queries: Array[str]
    results: Array[dict[str, object]] | None = None


class WebSource(OpenModel):
    """A page that a web search drew on."""

    type: Literal["url"]
    url: str


class WebSearch(OpenModel):
    """Searches the web."""

    type: Literal["search"]
    query: str | None = None
    queries: Array[str] | None = None
    sources: Array[WebSource] | None = None


class WebOpenPage(OpenModel):
    """Opens a page."""

    type: Literal["open_page"]
    url: str | None = None


class WebFindInPage(OpenModel):
    """Looks for words in a page."""

    type: Literal["find_in_page"]
    url: str
    pattern: str


class WebSearchCall(KnownItem):
    """A web search; while it runs there is no ``action`` yet."""

    type: Literal["web_search_call"]
    status: Literal["in_progress", "searching", "completed", "incomplete", "failed"]
    action: Annotated[WebSearch | WebOpenPage | WebFindInPage, ByKey("type")] | None = None


class ImageGenerationCall(KnownItem):
    """An image that the model had made; ``result`` is base64."""

    type: Literal["image_generation_call"]
    status: Literal["in_progress", "completed", "generating", "failed"]
    result: str | None


class CodeLogs(OpenModel):
    """What the code printed."""

    type: Literal["logs"]
    logs: str


class CodeImage(OpenModel):
    """An image that the code made."""

    type: Literal["image"]
    url: str


class CodeInterpreterCall(KnownItem):
    """Code that the model had run; ``outputs`` are shown on demand."""

    type: Literal["code_interpreter_call"]
    status: Literal["in_progress", "completed", "incomplete", "interpreting", "failed"]
    container_id: str
    code: str | None
    outputs: Array[Annotated[CodeLogs | CodeImage, ByKey("type")]] | None


class SafetyCheck(OpenModel):
    """Something that the user is to confirm."""

    id: str
    code: str | None = None
    message: str | None = None


class ComputerAction(OpenModel):
    """A click, a key, a look at the screen; what else it holds depends on ``type``."""

    type: Literal["click", "double_click", "drag", "keypress", "move", "screenshot", "scroll", "type", "wait"]


class ComputerCall(KnownItem):
    """The model acts on a screen."""

    type: Literal["computer_call"]
    status: Status
    call_id: str
    action: ComputerAction | None = None
    actions: Array[ComputerAction] | None = None
    pending_safety_checks: Array[SafetyCheck]


class ComputerCallOutput(Item):
    """What the screen showed afterwards."""

    type: Literal["computer_call_output"]
    status: Literal["in_progress", "completed", "incomplete", "failed"] | None = None
    call_id: CallId
    output: ComputerScreenshot
    acknowledged_safety_checks: Array[SafetyCheck] | None = None


class LocalShellAction(OpenModel):
    """A command and its surroundings."""

    type: Literal["exec"]
    command: Array[str]
    env: dict[str, str]
    timeout_ms: int | None = None
    working_directory: str | None = None
    user: str | None = None


class LocalShellCall(KnownItem):
    """The model runs a command on the client's machine (the older tool)."""

    type: Literal["local_shell_call"]
    status: Status
    call_id: str
    action: LocalShellAction


class LocalShellCallOutput(KnownItem):
    """What the command printed, as a string of JSON."""

    type: Literal["local_shell_call_output"]
    status: Status | None = None
    output: str


class ShellAction(OpenModel):
    """Commands to run, with their limits."""

    commands: Array[str]
    timeout_ms: int | None = None
    max_output_length: int | None = None


class LocalEnvironment(OpenModel):
    """The client's own machine."""

    type: Literal["local"]


class ContainerReference(OpenModel):
    """A container made earlier."""

    type: Literal["container_reference"]
    container_id: str


class ShellCall(Item):
    """The model runs commands."""

    type: Literal["shell_call"]
    status: Status | None = None
    call_id: CallId
    action: ShellAction
    environment: Annotated[LocalEnvironment | ContainerReference, ByKey("type")] | None = None
    caller: Caller | None = None


class ShellExit(OpenModel):
    """The command ended by itself."""

    type: Literal["exit"]
    exit_code: int


class ShellTimeout(OpenModel):
    """The command was stopped."""

    type: Literal["timeout"]


class ShellOutput(OpenModel):
    """What one command printed, and how it ended."""

    stdout: LongText
    stderr: LongText
    outcome: Annotated[ShellExit | ShellTimeout, ByKey("type")]


class ShellCallOutput(Item):
    """What the commands printed."""

    type: Literal["shell_call_output"]
    status: Status | None = None
    call_id: CallId
    output: Array[ShellOutput]
    max_output_length: int | None = None
    caller: Caller | None = None


class CreateFile(OpenModel):
    """Makes a file."""

    type: Literal["create_file"]
    path: FilePathText
    diff: LongText


class UpdateFile(OpenModel):
    """Changes a file."""

    type: Literal["update_file"]
    path: FilePathText
    diff: LongText


class DeleteFile(OpenModel):
    """Removes a file."""

    type: Literal["delete_file"]
    path: FilePathText


class ApplyPatchCall(Item):
    """The model edits a file."""

    type: Literal["apply_patch_call"]
    status: Literal["in_progress", "completed"]
    call_id: CallId
    operation: Annotated[CreateFile | UpdateFile | DeleteFile, ByKey("type")]
    caller: Caller | None = None


class ApplyPatchCallOutput(Item):
    """How the edit went."""

    type: Literal["apply_patch_call_output"]
    status: Literal["completed", "failed"]
    call_id: CallId
    output: LongText | None = None
    caller: Caller | None = None
