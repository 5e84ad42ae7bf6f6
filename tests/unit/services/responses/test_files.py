"""Files that a request carries, as text: what is read, what is refused, and how long and large either may get."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter

from llama_conversations.errors import InvalidParameter, UnsupportedParameter
from llama_conversations.services.responses import files
from llama_conversations.services.responses.document_text import Limits, Unreadable, docx_text, pdf_text
from llama_conversations.services.responses.files import file_text
from llama_conversations.wire.content import InputFile

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
LIMITS = Limits(pages=10, characters=1000, seconds=30, memory_bytes=1 << 30)


def inline(data: bytes, name: str | None = None, media_type: str | None = None) -> InputFile:
    encoded = base64.b64encode(data).decode()
    file_data = encoded if media_type is None else f"data:{media_type};base64,{encoded}"
    return InputFile(type="input_file", filename=name, file_data=file_data)


def text_of(data: bytes, name: str | None = "a", media_type: str | None = None) -> str:
    """The text alone."""
    written = file_text(inline(data, name, media_type))
    begin, _, rest = written.partition("\n")
    text, _, end = rest.rpartition("\n")
    assert begin.startswith("<file")
    assert end == "</file>"
    return text


def pdf(*pages: str, stream: bytes | None = None) -> bytes:
    """A PDF with a line of text on each page, or with the given content stream on the first."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>"]
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects.append(f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode())
    objects.append(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    for n, words in enumerate(pages):
        resources = "<</Font<</F1 3 0 R>>>>"
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Resources{resources}/Contents {5 + 2 * n} 0 R>>".encode()
        )
        drawn = f"BT /F1 9 Tf 9 9 Td ({words}) Tj ET".encode()
        if stream is not None and n == 0:
            objects.append(stream)
        else:
            objects.append(b"<</Length %d>>stream\n%b\nendstream" % (len(drawn), drawn))
    body = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    trailer = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (size, len(body))
    return body + b"xref\n0 %d\n0000000000 65535 f \n%b" % (size, table) + trailer


def encrypted(data: bytes, password: str) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(data)))
    writer.encrypt(user_password=password, owner_password="owner", algorithm="AES-256")
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def docx(body: str, part: str = "word/document.xml", head: str = "", namespace: str = WORD) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(part, f'{head}<w:document xmlns:w="{namespace}"><w:body>{body}</w:body></w:document>')
    return written.getvalue()


def program(folder: Path, script: str) -> str:
    """The path of a shell script, to run instead of Python."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


def paragraph(words: str) -> str:
    return f"<w:p><w:r><w:t>{words}</w:t></w:r></w:p>"


# What the model is given


def test_a_file_is_given_with_its_name():
    assert file_text(inline(b"a\nb", "notes.txt")) == '<file name="notes.txt">\na\nb\n</file>'


def test_a_file_without_name_is_given_without():
    assert file_text(inline(b"a")) == "<file>\na\n</file>"


def test_a_name_cannot_end_its_attribute():
    assert file_text(inline(b"a", 'x">\n<&.txt')) == '<file name="x&quot;&gt; &lt;&amp;.txt">\na\n</file>'


# Text


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "text/plain",
        "text/csv",
        "text/markdown",
        "text/html",
        "text/x-python",
        "application/json",
        "application/xml",
        "application/ld+json",
        "application/octet-stream",
        "application/vnd.ms-excel",  # what some systems call CSV
        "video/mp2t",  # what they call TypeScript
        "TEXT/PLAIN",
    ],
)
def test_what_is_utf_8_is_text_whatever_it_is_said_to_be(media_type):
    assert text_of("a,ü,你".encode(), "a", media_type) == "a,ü,你"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding(encoding):
    assert text_of("aü你".encode(encoding), "a.txt", "text/plain") == "aü你"


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/json"])
def test_what_is_no_utf_8_is_read_as_older_programs_write(media_type):
    assert text_of("naïve “quotes”".encode("cp1252"), "a.txt", media_type) == "naïve “quotes”"


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [("shift_jis", "shift_jis"), ("UTF-16LE", "utf-16-le"), ('"koi8-r"', "koi8-r"), ("latin1", "latin-1")],
)
def test_the_charset_of_a_data_url_counts(charset, encoding):
    text = {"shift_jis": "日本", "koi8-r": "Мир"}.get(encoding, "ü")
    assert text_of(text.encode(encoding), "a.txt", f"text/plain;charset={charset}") == text


@pytest.mark.parametrize("charset", ["zlib", "idna", "punycode", "unicode_escape", "nonsense", "a\0b", "x" * 99])
def test_an_unknown_charset_is_refused_by_its_name(charset):
    with pytest.raises(UnsupportedParameter, match="encoding"):
        text_of(b"a", "a.txt", f"text/plain;charset={charset}")


def test_text_that_is_not_in_the_charset_it_names_is_refused():
    with pytest.raises(UnsupportedParameter, match="'text/plain'"):
        text_of(b"\xff", "a.txt", "text/plain;charset=utf-8")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_comes_through_as_it_is(text):
    expected = text.removeprefix("\ufeff")
    assert text.startswith("%PDF-") or text_of(text.encode()) == expected


def test_an_empty_file_has_an_empty_text():
    assert text_of(b"") == ""


@pytest.mark.parametrize(
    ("data", "name", "media_type", "told"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "a.png", None, "image/png"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a.png", "image/jpeg", "image/jpeg"),
        (b"\0\1\2", None, None, "application/octet-stream"),
        (b"\0\1\2", "a.txt", "text/plain", "text/plain"),
        (b"\xff\xfea", "a.txt", "text/plain", "text/plain"),
        (b"\x9f\x01", "a", None, "application/octet-stream"),
        (b"\xe4", "a.mp3", "audio/mpeg", "audio/mpeg"),
        (b"PK\3\4\0\0", "a.zip", None, "application/zip"),
    ],
)
def test_what_is_no_text_is_refused_by_its_media_type(data, name, media_type, told):
    with pytest.raises(UnsupportedParameter, match=f"'{told}'") as caught:
        file_text(inline(data, name, media_type), "input[0].content[1]")
    assert caught.value.param == "input[0].content[1]"


# How it comes


@pytest.mark.parametrize("file_data", ["aGk=", "aGk", "aG\r\nk=\n", "data:;base64,aGk=", "DATA:text/plain;BASE64,aGk="])
def test_base64_comes_bare_or_in_a_data_url(file_data):
    assert file_text(InputFile(type="input_file", file_data=file_data)) == "<file>\nhi\n</file>"


@pytest.mark.parametrize(
    "file_data",
    ["a", "a=b=", "aGk*", "äöü", "data:text/plain,hi", "data:text/plain", "data:", f"data:{';' * 999}base64,aGk="],
)
def test_what_is_no_base64_is_refused(file_data):
    with pytest.raises(InvalidParameter, match="base64"):
        file_text(InputFile(type="input_file", filename="a.txt", file_data=file_data))


@pytest.mark.parametrize("given_by", ["file_url", "file_id"])
def test_a_file_that_is_not_inline_is_refused(given_by):
    part = InputFile.model_validate({"type": "input_file", given_by: "x"})
    with pytest.raises(UnsupportedParameter, match=given_by) as caught:
        file_text(part, "input[0].content[0]")
    assert caught.value.param == "input[0].content[0]"


# Limits


def test_a_file_may_have_as_many_bytes_and_characters_as_the_limits_say(monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 6)
    monkeypatch.setattr(files, "MAX_FILE_CHARACTERS", 3)
    assert text_of("üüü".encode()) == "üüü"
    with pytest.raises(InvalidParameter, match="'a' is too large: at most 6 bytes"):
        text_of("üüüx".encode())
    with pytest.raises(InvalidParameter, match="'a' has more than 3 characters"):
        text_of(b"abcd")


def test_a_pdf_with_too_much_text_is_refused(monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_CHARACTERS", 9)
    assert text_of(pdf("five!")) == "five!"
    with pytest.raises(InvalidParameter, match="more than 9 characters"):
        text_of(pdf("five!", "five!", "five!"))


def test_a_pdf_with_too_many_pages_is_refused(monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_PAGES", 2)
    assert text_of(pdf("one", "two")) == "one\n\ntwo"
    with pytest.raises(InvalidParameter, match="'a' has 3 pages: at most 2"):
        text_of(pdf("one", "two", "three"))


def test_a_document_that_takes_too_long_is_given_up_and_its_process_ended(monkeypatch, tmp_path):
    pid = tmp_path / "pid"
    monkeypatch.setattr(sys, "executable", program(tmp_path, f"echo $$ > {pid}\nwhile :; do :; done"))
    monkeypatch.setattr(files, "MAX_READ_SECONDS", 2)
    with pytest.raises(InvalidParameter, match="takes more than 2 seconds"):
        text_of(pdf("one"))
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_document_that_kills_its_process_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", program(tmp_path, "kill -9 $$"))
    with pytest.raises(InvalidParameter, match="could not be read within the limits of time and memory"):
        text_of(pdf("one"))


def test_a_document_that_needs_too_much_memory_is_refused(monkeypatch):
    monkeypatch.setattr(files, "MAX_READ_MEMORY", 64 << 20)
    stream = b"<</Length 64000000>>stream\n" + b" " * 30_000_000 + b"\nendstream"
    with pytest.raises(InvalidParameter, match="memory"):
        text_of(pdf("one", stream=stream))


# PDF


@pytest.mark.parametrize(("name", "media_type"), [("a.pdf", "application/pdf"), (None, None), ("a.txt", "text/plain")])
def test_a_pdf_is_known_by_its_content(name, media_type):
    assert text_of(pdf("Hello", "World"), name, media_type) == "Hello\n\nWorld"


def test_a_pdf_that_anybody_may_open_is_read_though_it_is_encrypted():
    assert text_of(encrypted(pdf("Hello"), password="")) == "Hello"


def test_a_pdf_with_a_password_is_refused():
    with pytest.raises(InvalidParameter, match="protected by a password"):
        text_of(encrypted(pdf("Hello"), password="secret"))


def test_a_pdf_without_text_is_refused():
    with pytest.raises(InvalidParameter, match="no text on its pages"):
        text_of(pdf("", ""))


@pytest.mark.parametrize(
    ("data", "name", "media_type"),
    [(b"%PDF-1.4 and nothing more", None, None), (b"hello", "a.pdf", None), (b"", "a", "application/pdf")],
)
def test_a_broken_pdf_is_refused(data, name, media_type):
    with pytest.raises(InvalidParameter, match="is no PDF that can be read"):
        text_of(data, name, media_type)


BROKEN_STREAM = b"<</Length 4/Filter[/JBIG2Decode/Nonsense]>>stream\nabcd\nendstream"


def test_a_page_that_cannot_be_read_is_told_to_the_model():
    assert text_of(pdf("one", "two", stream=BROKEN_STREAM)) == "[Page 1 could not be read.]\n\ntwo"


def test_a_stream_that_unpacks_to_very_much_is_no_text():
    packed = zlib.compress(b" " * 200_000_000, 9)
    packed = zlib.compress(packed, 9)
    stream = b"<</Length %d/Filter[/FlateDecode/FlateDecode]>>stream\n%b\nendstream" % (len(packed), packed)
    with pytest.raises(InvalidParameter, match=r"no text on its pages|memory"):
        text_of(pdf("one", stream=stream))


# Word


@pytest.mark.parametrize(("name", "media_type"), [("a.docx", None), ("a", DOCX), ("a.DOCX", "application/zip")])
def test_a_word_document_is_its_paragraphs(name, media_type):
    assert text_of(docx(paragraph("Hello") + paragraph("") + paragraph("World &amp; ü")), name, media_type) == (
        "Hello\n\nWorld & ü"
    )


def test_tabs_and_breaks_are_kept_and_what_is_no_text_is_not():
    body = (
        '<w:p><w:pPr><w:tabs><w:tab w:val="left" w:pos="9"/></w:tabs></w:pPr><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t>'
        "<w:br/><w:t>c</w:t><w:cr/><w:t>d</w:t><w:noBreakHyphen/><w:t>e</w:t></w:r>"
        "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"
        '<x:t xmlns:x="urn:other">other</x:t>'
    )
    assert text_of(docx(body), "a.docx") == "a\tb\nc\nd-e"


def test_what_is_said_again_for_older_programs_is_said_once():
    mc = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    body = (
        f"<mc:AlternateContent {mc}><mc:Choice>{paragraph('new')}</mc:Choice><mc:Fallback>{paragraph('old')}"
        f"</mc:Fallback></mc:AlternateContent>{paragraph('more')}"
    )
    assert text_of(docx(body), "a.docx") == "new\nmore"


def test_word_documents_of_the_strict_form_are_read():
    strict = docx(paragraph("a"), namespace="http://purl.oclc.org/ooxml/wordprocessingml/main")
    assert text_of(strict, "a.docx") == "a"


def test_a_word_document_with_too_much_text_is_refused(monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_CHARACTERS", 5)
    assert text_of(docx(paragraph("five!")), "a.docx") == "five!"
    with pytest.raises(InvalidParameter, match="more than 5 characters"):
        text_of(docx(paragraph("five!") * 9), "a.docx")


def test_a_word_document_that_unpacks_to_very_much_is_refused():
    bomb = docx("x" * 70_000_000)
    assert len(bomb) < 100_000
    with pytest.raises(InvalidParameter, match="unpacks to more than"):
        text_of(bomb, "a.docx")


def test_entities_that_multiply_are_refused():
    bomb = docx(paragraph("&b;"), head='<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>')
    with pytest.raises(InvalidParameter, match="document type declaration"):
        text_of(bomb, "a.docx")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"hello", "no Word document"),
        (b"PK\3\4\0\0", "no Word document"),
        (docx("", part="xl/workbook.xml"), "no Word document"),
        (docx("<w:p>"), "broken XML"),
        (docx(paragraph("a"))[:-30], "no Word document"),
    ],
)
def test_a_broken_word_document_is_refused(data, what):
    with pytest.raises(InvalidParameter, match=what):
        text_of(data, "a.docx", DOCX)


# Whatever the bytes: text, or a clear word


@pytest.mark.parametrize(("read", "sample"), [(pdf_text, pdf("Hello", "World")), (docx_text, docx(paragraph("Hello")))])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_damage_ends_in_text_or_in_a_reason(read, sample, data):
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not damaged:
            break
    with contextlib.suppress(Unreadable):
        assert isinstance(read(bytes(damaged), LIMITS), str)
