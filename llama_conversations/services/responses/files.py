"""The text of files that a request carries inline, for models that take none (OpenAI API guide, file inputs).

Text, code and data files are decoded; PDF and Word documents are read in a process of their own (``document_text``),
which is killed when its time is up. What the model is given is ``<file name="report.pdf">``, the text, and ``</file>``,
each on lines of its own; the name is escaped as an attribute, the text is left as it is.

What a file is, its content tells first, then the media type of its data URL, then its name: clients often give a wrong
one. A file that is neither document nor text is refused.
"""

from __future__ import annotations

import codecs
import mimetypes
import re
import subprocess
import sys
from base64 import b64decode
from binascii import Error
from dataclasses import dataclass
from html import escape

from llama_conversations.errors import InvalidParameter, UnsupportedParameter
from llama_conversations.services.responses import document_text
from llama_conversations.wire.content import InputFile

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_FILE_CHARACTERS",
    "MAX_FILE_PAGES",
    "MAX_READ_MEMORY",
    "MAX_READ_SECONDS",
    "file_text",
]

MAX_FILE_BYTES = 32 * 1024 * 1024
"""Of one file, decoded."""

MAX_FILE_PAGES = 1_000
"""Of a PDF."""

MAX_FILE_CHARACTERS = 2_000_000
"""Of a file's text."""

MAX_READ_SECONDS = 30
"""How long the reading of one document may take."""

MAX_READ_MEMORY = 1024 * 1024 * 1024
"""Bytes of address space for the process that reads a document."""

_SHOWN_NAME = 255
_LONGEST_HEADER = 255

_PDF = "application/pdf"
_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_UNKNOWN = "application/octet-stream"

_TEXTUAL = re.compile(
    r"text/.*|.*\+(json|xml|yaml)|application/(x-)?(json|xml|csv|yaml|toml|sql|sh|javascript|typescript|graphql|ndjson"
    r"|markdown|tex|python|ecmascript)"
)
"""Media types whose content is text; where it is not UTF-8, it is read in the encoding of older programs."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_CHARSETS = frozenset(
    {"ascii", "cp1250", "cp1251", "cp1252", "iso8859-1", "iso8859-2", "iso8859-15", "koi8-r"}
    | {"big5", "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk", "shift_jis"}
    | {"utf-8", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be", "utf-32-le"}
)
"""Python's names of the encodings that a data URL may name: those of the WHATWG Encoding Standard that are in use."""

_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


@dataclass(frozen=True, slots=True)
class _Inline:
    """A file as it came; ``declared`` is the media type of its data URL, unless that says nothing."""

    name: str
    data: bytes
    declared: str | None
    charset: str | None

    @property
    def media_type(self) -> str:
        return self.declared or mimetypes.guess_type(self.name)[0] or _UNKNOWN

    @property
    def document(self) -> str | None:
        """The kind of document that it is, as ``document_text`` calls it."""
        suffix = self.name.lower().rpartition(".")[2]
        if self.data.startswith(b"%PDF-") or self.declared == _PDF or (suffix == "pdf" and not self.declared):
            return "pdf"
        is_zip = self.data.startswith(b"PK")
        return "docx" if self.declared == _DOCX or (suffix == "docx" and (is_zip or not self.declared)) else None


def file_text(part: InputFile, param: str = "input") -> str:
    """What a model that takes no files is given for one. It blocks, for as long as a document takes to read: call it in
    a worker thread, and in few at once.

    Args:
        param: Where the part stands in the request.

    Raises:
        InvalidParameter: The file is too large, is broken, or has no text; the message names the limit.
        UnsupportedParameter: It is given by URL or id, or it is of a type that has no text here.
    """
    if part.file_data is None:
        missing = "file_url" if part.file_url else "file_id"
        raise UnsupportedParameter(
            param, f"A file by '{missing}' is not supported for this model: send its content as 'file_data'."
        )
    file = _inline((part.filename or "")[-_SHOWN_NAME:], part.file_data, param)
    text = _decoded(file, param) if file.document is None else _read(file, file.document, param)
    if len(text) > MAX_FILE_CHARACTERS:
        raise _invalid(file.name, f"has more than {MAX_FILE_CHARACTERS} characters of text", param)
    name = escape(" ".join(file.name.split()), quote=False).replace('"', "&quot;")
    return f'<file name="{name}">\n{text}\n</file>' if name else f"<file>\n{text}\n</file>"


def _inline(name: str, file_data: str, param: str) -> _Inline:
    """A data URL (RFC 2397) or bare base64 (RFC 4648 §4)."""
    header, payload = ";base64", file_data
    if file_data[:5].lower() == "data:":
        header, _, payload = file_data[5:].partition(",")
    media_type, *words = [word.strip() for word in header[:_LONGEST_HEADER].lower().split(";")]
    if "base64" not in words:
        raise _invalid(name, "is no data URL with base64", param)
    data = _from_base64(name, payload, param)
    declared = None if media_type in ("", _UNKNOWN, "binary/octet-stream") else media_type
    charset = next((word.removeprefix("charset=").strip('"') for word in words if word.startswith("charset=")), None)
    return _Inline(name, data, declared, charset)


def _from_base64(name: str, payload: str, param: str) -> bytes:
    """Blanks and missing padding are forgiven."""
    try:
        digits = payload.encode("ascii").translate(None, b" \t\r\n")
        data = b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except (Error, ValueError):
        raise _invalid(name, "is not valid base64", param) from None
    if len(data) > MAX_FILE_BYTES:
        raise _invalid(name, f"is too large: at most {MAX_FILE_BYTES} bytes are accepted", param)
    return data


def _decoded(file: _Inline, param: str) -> str:
    text = _text_or_none(file, param)
    if text is None:
        raise UnsupportedParameter(
            param, f"Files of type '{file.media_type}' are not supported for this model: they have no text."
        )
    return text


def _text_or_none(file: _Inline, param: str) -> str | None:
    """A file's text; ``None`` where it is none.

    Without mark or charset it is UTF-8, or else Windows-1252, as which the WHATWG Encoding Standard reads Latin-1.
    """
    for mark, encoding in _MARKS:
        if file.data.startswith(mark):
            return _with_encoding(file.data, encoding)
    if file.charset is not None:
        return _with_encoding(file.data, _known_charset(file.charset, param))
    text = _with_encoding(file.data, "utf-8")
    if text is None and b"\0" not in file.data and (file.declared is None or _TEXTUAL.fullmatch(file.declared)):
        text = file.data.decode("cp1252", "replace")
        return None if _CONTROLS.search(text) else text
    return text


def _with_encoding(data: bytes, encoding: str) -> str | None:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _known_charset(charset: str, param: str) -> str:
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        name = ""
    if name not in _CHARSETS:
        raise UnsupportedParameter(param, f"Files in the encoding '{charset[:40]}' are not supported.")
    return name


def _read(file: _Inline, kind: str, param: str) -> str:
    """A document's text, by a process that ends with its time: nothing that a document does outlives it."""
    limits = document_text.Limits(MAX_FILE_PAGES, MAX_FILE_CHARACTERS, MAX_READ_SECONDS, MAX_READ_MEMORY)
    command = [sys.executable, "-I", "-m", document_text.__name__, kind, *limits.arguments()]
    try:
        done = subprocess.run(  # noqa: S603 - our own program; the document is its input
            command,
            input=file.data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=MAX_READ_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _invalid(file.name, f"takes more than {MAX_READ_SECONDS} seconds to read", param) from None
    said = done.stdout.decode()
    if done.returncode == document_text.UNREADABLE:
        raise _invalid(file.name, said, param)
    if done.returncode != 0:
        raise _invalid(file.name, "could not be read within the limits of time and memory", param)
    return said


def _invalid(name: str, what: str, param: str) -> InvalidParameter:
    return InvalidParameter(f"The file '{name}' {what}." if name else f"The file {what}.", param=param)
