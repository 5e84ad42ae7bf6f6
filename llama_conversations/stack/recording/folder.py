"""The recordings of one provider: files for people to read, to review and to keep with their tests."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from llama_conversations.config.findings import key_path_text
from llama_conversations.config.settings import parse_settings
from llama_conversations.stack.recording.answers import Answer, Failure, chunk_of, readable
from llama_conversations.stack.recording.json_text import compact, indented

FORMAT = 1


class NotARecording(Exception):
    """The file cannot be read, or holds something else; the message says what is wrong."""


class _Part(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", protected_namespaces=())


class _WrittenFailure(_Part):
    error: str
    facts: dict[str, str | None]


class _WrittenAnswer(_Part):
    chunks: list[JsonValue]
    failure: _WrittenFailure | None = None


class _File(_Part):
    format: Literal[1]
    operation: str
    request: JsonValue
    answers: Annotated[list[_WrittenAnswer], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Recording:
    """What was asked, in its normal form, and every answer to it, in the order in which they were asked for."""

    operation: str
    request: JsonValue
    answers: Sequence[Answer]


class RecordingFolder:
    """Reads and writes recordings by their file's name. Files are small: they are read and written on the loop itself.

    Args:
        path: The folder; made when something is written into it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> Recording | None:
        """A recording, if there is one. Errors: ``NotARecording``."""
        try:
            content = (self.path / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NotARecording(f"the file cannot be read: {error.strerror}") from error
        try:
            document = json.loads(content)
        except ValueError as error:
            raise NotARecording(f"the file is not JSON: {error}") from error
        try:
            return _read(document)
        except ValueError as error:
            raise NotARecording(str(error)) from error

    def write(self, name: str, recording: Recording) -> None:
        """Write a recording, in place of the one of that name: whoever reads it meanwhile gets the one or the other.

        Errors: ``OSError``.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        unfinished = self.path / f".{name}.{secrets.token_hex(4)}"
        try:
            unfinished.write_text(written(recording), encoding="utf-8", newline="\n")
            os.replace(unfinished, self.path / name)  # noqa: PTH105 Path.replace says the same, less plainly
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise

    def all(self) -> Iterator[tuple[str, Recording]]:
        """Every recording with its file's name, in the names' order; files that are none are passed over."""
        for path in sorted(self.path.glob("*.json")):
            with suppress(NotARecording):
                recording = self.read(path.name)
                if recording is not None:
                    yield path.name, recording


def written(recording: Recording) -> str:
    """A recording as its file holds it: a sole chunk in lines, those of a stream in a line each."""
    head = indented({"format": FORMAT, "operation": recording.operation, "request": recording.request})
    answers = ",\n".join(_written_answer(answer) for answer in recording.answers)
    return f'{head.removesuffix(_END)},\n  "answers": [\n{answers}\n  ]{_END}\n'


_END = "\n}"


def _written_answer(answer: Answer) -> str:
    chunks = [readable(chunk) for chunk in answer.chunks]
    lines = [indented(chunks[0], 4)] if len(chunks) == 1 else map(compact, chunks)
    listed = ",".join(f"\n        {line}" for line in lines)
    text = f'    {{\n      "chunks": [{listed}\n      ]' if listed else '    {\n      "chunks": []'
    if answer.failure is not None:
        failure: JsonValue = {"error": answer.failure.error, "facts": dict(answer.failure.facts)}
        text += f',\n      "failure": {indented(failure, 3)}'
    return text + "\n    }"


def _read(document: JsonValue) -> Recording:
    """Errors: ``ValueError``."""
    file, findings = parse_settings(_File, document)
    if file is None:
        raise ValueError("; ".join(f"{key_path_text(found.path) or 'the file'} {found.message}" for found in findings))
    return Recording(file.operation, file.request, [_answer(answer) for answer in file.answers])


def _answer(written: _WrittenAnswer) -> Answer:
    chunks = [chunk_of(chunk) for chunk in written.chunks]
    if written.failure is None:
        return Answer(chunks)
    failure = Failure(written.failure.error, written.failure.facts)
    failure.raised_by("")  # once now, so that a file that a person has changed is refused as a whole
    return Answer(chunks, failure)
