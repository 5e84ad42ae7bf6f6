"""A stored prompt with its places filled in (OpenAI API reference, ``ResponsePrompt``: values are strings or parts)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, TypeAlias

from pydantic import TypeAdapter, ValidationError

from llama_conversations.errors import InvalidParameter
from llama_conversations.services.prompts import PLACE, checked_variables
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.content import MAX_FILE_DATA, MAX_TEXT, InputFile, InputImage, InputText, ToolOutputPart
from llama_conversations.wire.unions import ByJsonType
from llama_conversations.wire.validation import invalid_parameter

__all__ = ["PromptPart", "fill_prompt"]

PromptPart: TypeAlias = InputText | InputImage | InputFile

_PARAM = "prompt.variables"

_VALUES: TypeAdapter[dict[str, dict[str, dict[str, str | PromptPart]]]] = TypeAdapter(
    dict[str, dict[str, dict[str, Annotated[str | ToolOutputPart, ByJsonType()]]]]
)
"""The values inside the two objects that hold them in a request, so that an error's path is that of the request."""


def fill_prompt(text: str, values: Mapping[str, JsonValue]) -> list[PromptPart]:
    """The parts of a prompt's text with every ``{{variable}}`` replaced; neighbouring text is one part.

    Values are put in as they are: what looks like a variable in them is none. There is always one part at least, which
    may be an empty text.

    Args:
        values: For every variable of the text a string, or a part of type ``input_text``, ``input_image`` or
            ``input_file`` as JSON.

    Raises:
        InvalidParameter: On ``prompt.variables.NAME``, for a variable without value, a value without variable, or a
            value that is neither; on ``prompt.variables``, when the whole is larger than a message may be.
    """
    named = checked_variables(text, None)
    for name in named:
        if name not in values:
            raise InvalidParameter(
                f"Missing prompt variable: '{name}'.", param=f"{_PARAM}.{name}", code="missing_required_parameter"
            )
    for name in values:
        if name not in named:
            raise InvalidParameter(
                f"Unknown prompt variable: '{name}'.", param=f"{_PARAM}.{name}", code="unknown_parameter"
            )
    return _merged(_pieces(text, _parsed(values)))


def _parsed(values: Mapping[str, JsonValue]) -> Mapping[str, str | PromptPart]:
    request = {"prompt": {"variables": dict(values)}}
    try:
        return _VALUES.validate_python(request)["prompt"]["variables"]
    except ValidationError as error:
        raise invalid_parameter(error, request) from None


def _pieces(text: str, values: Mapping[str, str | PromptPart]) -> Iterator[str | PromptPart]:
    """Literal text and values in their order; a split by the pattern gives them in turns."""
    for index, piece in enumerate(PLACE.split(text)):
        value = values[piece] if index % 2 else piece
        yield value.text if isinstance(value, InputText) else value


def _merged(pieces: Iterable[str | PromptPart]) -> list[PromptPart]:
    parts: list[PromptPart] = []
    run: list[str] = []
    written = attached = 0
    for piece in pieces:
        if isinstance(piece, str):
            run.append(piece)
            written += len(piece)
        else:
            parts += [*_text_part(run), piece]
            run = []
            attached += _attached(piece)
        if written > MAX_TEXT:
            raise _too_large(f"more than {MAX_TEXT} characters of text")
        if attached > MAX_FILE_DATA:
            raise _too_large(f"more than {MAX_FILE_DATA} characters of images and files")
    parts += _text_part(run)
    return parts or [InputText(type="input_text", text="")]


def _text_part(run: Iterable[str]) -> Iterator[InputText]:
    text = "".join(run)
    if text:
        yield InputText(type="input_text", text=text)


def _attached(part: InputImage | InputFile | InputText) -> int:
    """How many characters a part carries inline: a variable may stand in many places."""
    if isinstance(part, InputImage):
        return len(part.image_url or "")
    return len(part.file_data or "") if isinstance(part, InputFile) else 0


def _too_large(what: str) -> InvalidParameter:
    return InvalidParameter(f"The prompt, with its variables filled in, has {what}.", param=_PARAM)
