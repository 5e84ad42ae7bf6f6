"""The text of PDF and Word documents, read in a process of its own: ``python -I -m … KIND LIMITS…``.

Documents come from anybody, and their readers are large: a broken or hostile one may take any time and memory. A
thread cannot be stopped from outside, a process can. This one limits its own memory and processor time, and its parent
kills it when its time is up. It imports nothing else of the package, so that it starts quickly.

The document comes on standard input. The text goes to standard output, as UTF-8, with exit status 0; with status 3 it
is what is wrong with the document, worded to follow its name. Any other status: the process died of the document.

PDF: ISO 32000, read by pypdf. Word: ECMA-376 Part 1 §17 (WordprocessingML), paragraphs, tabs and line breaks in the
order of the main document part; deleted text, headers, footnotes and comments are no part of it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass
from types import MappingProxyType
from typing import IO, TYPE_CHECKING
from xml.parsers import expat

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from pypdf import PdfReader

UNREADABLE = 3
"""Exit status: standard output says what is wrong."""

MAX_XML_BYTES = 64 * 1024 * 1024
"""Of a Word document's main part, unpacked: some seconds of parsing."""

_MAIN_PART = "word/document.xml"
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Limits:
    """What reading may cost.

    Attributes:
        pages: Of a PDF.
        characters: Reading stops soon after so many; the text is longer then.
        seconds: Of processor time.
        memory_bytes: Of address space.
    """

    pages: int
    characters: int
    seconds: int
    memory_bytes: int

    def arguments(self) -> list[str]:
        """The command line's words."""
        return [str(value) for value in astuple(self)]


class Unreadable(Exception):
    """The document cannot be read; the message follows its name."""


def main(kind: str, limits: Limits) -> int:
    """Read the document on standard input; the exit status."""
    logging.disable()  # pypdf warns of every flaw
    limit_resources(limits)
    status = 0
    try:
        text = READERS[kind](sys.stdin.buffer.read(), limits)
    except Unreadable as error:
        text, status = str(error), UNREADABLE
    except MemoryError:
        text, status = "needs too much memory to be read", UNREADABLE
    sys.stdout.buffer.write(text[: limits.characters + 1].encode("utf-8", "replace"))
    sys.stdout.buffer.flush()
    return status


def limit_resources(limits: Limits) -> None:
    """Bound this process, where the system can."""
    if sys.platform != "win32":
        for kind, limit in ((resource.RLIMIT_AS, limits.memory_bytes), (resource.RLIMIT_CPU, limits.seconds)):
            with contextlib.suppress(ValueError, OSError):  # some systems know the name, and refuse the limit
                resource.setrlimit(kind, (limit, limit))


def pdf_text(data: bytes, limits: Limits) -> str:
    """The pages' texts with an empty line between; a page that cannot be read is marked as such.

    Errors: ``Unreadable``; ``MemoryError``.
    """
    from pypdf import PdfReader  # only where a PDF is read: it takes a tenth of a second

    try:
        reader = PdfReader(io.BytesIO(data))
        is_open = not reader.is_encrypted or bool(reader.decrypt(""))
        count = len(reader.pages) if is_open else 0
    except MemoryError:
        raise
    except Exception as error:  # hostile bytes make a parser fail in any way
        raise Unreadable("is no PDF that can be read") from error
    if not is_open:
        raise Unreadable("is protected by a password")
    if count > limits.pages:
        raise Unreadable(f"has {count} pages: at most {limits.pages} are read")
    pages = list(_page_texts(reader, count, limits.characters))
    if not any(page is not None and page.strip() for page in pages):
        raise Unreadable("has no text on its pages: they may be scanned images")
    return "\n\n".join(
        f"[Page {number} could not be read.]" if page is None else page for number, page in enumerate(pages, 1)
    )


def _page_texts(reader: PdfReader, count: int, characters: int) -> Iterator[str | None]:
    """Each page's text, ``None`` for one that cannot be read, until there is more than ``characters`` of it."""
    for number in range(count):
        try:
            text = reader.pages[number].extract_text().replace("\0", "")
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - as above; the other pages may be whole
            yield None
            continue
        yield text
        characters -= len(text)
        if characters < 0:
            return


def docx_text(data: bytes, limits: Limits) -> str:
    """The paragraphs' texts, each with the end of a line.

    Errors: ``Unreadable``; ``MemoryError``.
    """
    paragraphs = _Paragraphs(limits.characters)
    try:
        import zipfile  # not by the server, which imports this module for its limits alone

        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(_MAIN_PART) as part:
            paragraphs.read(part)
    except (Unreadable, MemoryError):
        raise
    except expat.ExpatError as error:
        raise Unreadable("is a Word document with broken XML") from error
    except Exception as error:  # hostile bytes, as above
        raise Unreadable("is no Word document (.docx) that can be read") from error
    return paragraphs.text()


class _Paragraphs:
    """Gathers the text of WordprocessingML as it is parsed; document types, and so entities, are refused."""

    _BREAKS: Mapping[str, str] = MappingProxyType({"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"})

    def __init__(self, characters: int) -> None:
        self._left = characters
        self._texts: list[str] = []
        self._in_text = False
        self._alternatives = 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def read(self, xml: IO[bytes]) -> None:
        """Parse until the end, or until there is more than enough. Errors: ``Unreadable``, ``ExpatError``."""
        size = 0
        while self._left >= 0 and (chunk := xml.read(_CHUNK)):
            self._parser.Parse(chunk)
            size += len(chunk)
            if size > MAX_XML_BYTES:
                raise Unreadable(f"unpacks to more than {MAX_XML_BYTES} bytes")
        if self._left >= 0:
            self._parser.Parse(b"", True)  # a document that is cut off ends in an error

    def text(self) -> str:
        """All that was gathered."""
        return "".join(self._texts).rstrip("\n")

    def _refuse(self, *_declared: object) -> None:
        raise Unreadable("is a Word document with a document type declaration, which Word never writes")

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        local = _local(name)
        if local == "Fallback":  # says again, for older programs, what stands before it
            self._alternatives += 1
        self._in_text = local == "t"
        if local in self._BREAKS and not (local == "tab" and attributes):  # with attributes it defines a tab stop
            self._add(self._BREAKS[local])

    def _end(self, name: str) -> None:
        local = _local(name)
        if local == "Fallback":
            self._alternatives -= 1
        self._in_text = False
        if local == "p":
            self._add("\n")

    def _characters(self, text: str) -> None:
        if self._in_text:
            self._add(text)

    def _add(self, text: str) -> None:
        if not self._alternatives:
            self._texts.append(text)
            self._left -= len(text)


def _local(name: str) -> str:
    """An element's name within WordprocessingML, or that of an alternative's fallback; empty for any other."""
    namespace, _, local = name.rpartition(" ")
    return local if "wordprocessingml" in namespace or local == "Fallback" else ""


READERS: Mapping[str, Callable[[bytes, Limits], str]] = MappingProxyType({"pdf": pdf_text, "docx": docx_text})

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Limits(*(int(word) for word in sys.argv[2:]))))
