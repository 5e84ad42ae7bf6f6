"""Content parts: what a message, a tool's output and a reasoning item are made of.

Limits are those of the OpenAI API reference; lengths count characters.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from llama_conversations.wire.base import OpenModel
from llama_conversations.wire.unions import Array, ByJsonType, ByKey

__all__ = [
    "Annotation",
    "ComputerScreenshot",
    "ContainerFileCitation",
    "ContentPart",
    "FileCitation",
    "FilePath",
    "InputAudio",
    "InputFile",
    "InputImage",
    "InputText",
    "LongText",
    "MessageContent",
    "OutputText",
    "ReasoningText",
    "Refusal",
    "SummaryText",
    "Text",
    "ToolOutput",
    "ToolOutputPart",
    "UrlCitation",
]

MAX_TEXT = 10_485_760
MAX_IMAGE_URL = 20_971_520
MAX_FILE_DATA = 73_400_320

LongText = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
ImageUrl = Annotated[str, StringConstraints(max_length=MAX_IMAGE_URL)]
ImageDetail = Literal["low", "high", "auto", "original"]


class InputText(OpenModel):
    """Text for the model."""

    type: Literal["input_text"]
    text: LongText


class InputImage(OpenModel):
    """An image for the model, by URL (a ``data:`` URL carries it inline) or by the id of an uploaded file."""

    type: Literal["input_image"]
    detail: ImageDetail | None = None
    file_id: str | None = None
    image_url: ImageUrl | None = None


class InputFile(OpenModel):
    """A file for the model: its id, its URL, or its content as base64."""

    type: Literal["input_file"]
    file_id: str | None = None
    filename: str | None = None
    file_data: Annotated[str, StringConstraints(max_length=MAX_FILE_DATA)] | None = None
    file_url: str | None = None
    detail: Literal["auto", "low", "high"] | None = None


class AudioData(OpenModel):
    """Base64 and the format that it decodes to."""

    data: str
    format: Literal["mp3", "wav"]


class InputAudio(OpenModel):
    """Speech for the model."""

    type: Literal["input_audio"]
    input_audio: AudioData


class FileCitation(OpenModel):
    """Points at an uploaded file that the text draws on."""

    type: Literal["file_citation"]
    file_id: str
    index: int
    filename: str


class UrlCitation(OpenModel):
    """Points at a web page that a stretch of the text draws on."""

    type: Literal["url_citation"]
    url: str
    start_index: int
    end_index: int
    title: str


class ContainerFileCitation(OpenModel):
    """Points at a file in a code interpreter's container."""

    type: Literal["container_file_citation"]
    container_id: str
    file_id: str
    start_index: int
    end_index: int
    filename: str


class FilePath(OpenModel):
    """Points at a file that the model made."""

    type: Literal["file_path"]
    file_id: str
    index: int


Annotation = Annotated[FileCitation | UrlCitation | ContainerFileCitation | FilePath, ByKey("type")]


class OutputText(OpenModel):
    """Text from the model; stored, it always has both lists."""

    type: Literal["output_text"]
    text: str
    annotations: Array[Annotation] | None = None
    logprobs: Array[dict[str, object]] | None = None


class Refusal(OpenModel):
    """The model's words for declining."""

    type: Literal["refusal"]
    refusal: str


class Text(OpenModel):
    """A stored form of text."""

    type: Literal["text"]
    text: str


class SummaryText(OpenModel):
    """One paragraph of a reasoning item's summary."""

    type: Literal["summary_text"]
    text: str


class ReasoningText(OpenModel):
    """The model's reasoning as it was."""

    type: Literal["reasoning_text"]
    text: str


class ComputerScreenshot(OpenModel):
    """A picture of the screen that the model works on."""

    type: Literal["computer_screenshot"]
    detail: ImageDetail | None = None
    file_id: str | None = None
    image_url: ImageUrl | None = None


ContentPart = Annotated[
    InputText
    | InputImage
    | InputFile
    | InputAudio
    | OutputText
    | Refusal
    | Text
    | SummaryText
    | ReasoningText
    | ComputerScreenshot,
    ByKey("type"),
]
MessageContent = Annotated[str | Array[ContentPart], ByJsonType()]
"""What a message says: a string stands for one part of text."""

ToolOutputPart = Annotated[InputText | InputImage | InputFile, ByKey("type")]
ToolOutput = Annotated[LongText | Array[ToolOutputPart], ByJsonType()]
"""What a function or a custom tool answered."""
