"""Recordings as files: what is read is what was written, and people can read it, too."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_conversations import errors
from llama_conversations.stack.recording.answers import FAILURES, Answer, Failure, chunk_of, readable
from llama_conversations.stack.recording.folder import NotARecording, Recording, RecordingFolder, written

PLAIN = Answer([b'{"choices": [{"message": {"content": "\xc3\xa9\\u2028"}}]}'])
STREAM = Answer([b'{"choices":[]}', b'{"n":1.5}'], Failure.of(errors.UpstreamFailed("p", "Gone.")))
NAME = "chat_completion-0.json"

PROVIDERS_ERRORS: list[errors.UpstreamError] = [
    errors.UpstreamError("p", "Something."),
    errors.UpstreamRejected("p", "Too hot.", code="invalid_value", param="temperature"),
    errors.UpstreamRejected("p", "No."),
    errors.UpstreamDenied("p", "No key."),
    errors.UpstreamModelNotFound("p", "No model."),
    errors.UpstreamRateLimited("p", "Slow.", retry_after="7"),
    errors.UpstreamRateLimited("p", "Pay.", retry_after=None, code="insufficient_quota"),
    errors.UpstreamFailed("p", "500."),
    errors.UpstreamUnreachable("p", "Nobody."),
    errors.UpstreamTimedOut("p", "Late."),
    errors.UpstreamDisconnected("p", "Halfway."),
    errors.UpstreamGarbled("p", "What?"),
]


@pytest.fixture
def folder(tmp_path: Path) -> RecordingFolder:
    return RecordingFolder(tmp_path / "openai")


def put(folder: RecordingFolder, text: str) -> None:
    folder.path.mkdir(exist_ok=True)
    (folder.path / NAME).write_text(text, encoding="utf-8")


def reason(folder: RecordingFolder) -> str:
    with pytest.raises(NotARecording) as caught:
        folder.read(NAME)
    return str(caught.value)


def test_a_recording_reads_well(folder: RecordingFolder) -> None:
    request = {"messages": [{"content": "Hi", "role": "user"}], "model": "m"}
    assert written(Recording("chat_completion", request, [Answer([b'{"a": {"b": 1}}']), STREAM, Answer([])])) == (
        """\
{
  "format": 1,
  "operation": "chat_completion",
  "request": {
    "messages": [
      {
        "content": "Hi",
        "role": "user"
      }
    ],
    "model": "m"
  },
  "answers": [
    {
      "chunks": [
        {
          "a": {
            "b": 1
          }
        }
      ]
    },
    {
      "chunks": [
        {"choices":[]},
        {"n":1.5}
      ],
      "failure": {
        "error": "UpstreamFailed",
        "facts": {
          "message": "Gone."
        }
      }
    },
    {
      "chunks": []
    }
  ]
}
"""
    )


def test_what_is_read_is_what_was_written(folder: RecordingFolder) -> None:
    recording = Recording("chat_completion", {"model": "m"}, [PLAIN, STREAM])
    assert folder.read(NAME) is None
    folder.write(NAME, recording)
    kept = folder.read(NAME)
    assert kept is not None
    assert (kept.operation, kept.request, len(kept.answers)) == ("chat_completion", {"model": "m"}, 2)
    assert json.loads(kept.answers[0].chunks[0]) == json.loads(PLAIN.chunks[0])
    assert kept.answers[1] == STREAM
    assert dict(folder.all()) == {NAME: kept}


def test_writing_replaces_the_file_at_once_and_leaves_no_other(folder: RecordingFolder) -> None:
    folder.write(NAME, Recording("o", {}, [PLAIN]))
    with (folder.path / NAME).open(encoding="utf-8") as before:
        folder.write(NAME, Recording("o", {}, [STREAM]))
        assert "é" in before.read()
    kept = folder.read(NAME)
    assert kept is not None
    assert kept.answers == [STREAM]
    assert [path.name for path in folder.path.iterdir()] == [NAME]


def test_a_write_that_fails_leaves_the_file_as_it_was(folder: RecordingFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write(NAME, Recording("o", {}, [PLAIN]))
    before = (folder.path / NAME).read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        folder.write(NAME, Recording("o", {}, [STREAM]))
    assert [path.name for path in folder.path.iterdir()] == [NAME]
    assert (folder.path / NAME).read_bytes() == before


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        b"{",
        b"{not json}",
        b'"a text"',
        b"17",
        b'{"n":NaN}',
        b'{"n":1e999}',
        b'{"content":"\xff"}',
        b"\xff\xfe{\x00",
        b"\xef\xbb\xbf{}",
        'a\u2028b"\\\n'.encode(),
    ],
)
def test_what_is_no_json_object_comes_back_byte_for_byte(folder: RecordingFolder, chunk: bytes) -> None:
    folder.write(NAME, Recording("o", {}, [Answer([chunk, b"{}"]), Answer([chunk])]))
    (folder.path / NAME).read_text(encoding="utf-8")
    kept = folder.read(NAME)
    assert kept is not None
    assert kept.answers == [Answer([chunk, b"{}"]), Answer([chunk])]


@pytest.mark.parametrize("text", ['{"a":"\\ud83d"}', '{"a":"é\u2028\u0085 \\u0000 \\" \\\\n"}', "[1,2.5,1e-07]"])
def test_json_comes_back_as_it_was_but_for_white_space(folder: RecordingFolder, text: str) -> None:
    folder.write(NAME, Recording("o", {}, [Answer([text.encode()])]))
    kept = folder.read(NAME)
    assert kept is not None
    assert kept.answers == [Answer([text.encode()])]


@given(st.binary(max_size=40))
def test_any_bytes_are_kept(chunk: bytes) -> None:
    value = readable(chunk)
    again = chunk_of(value)
    assert again == chunk if isinstance(value, str) else json.loads(again) == json.loads(chunk)


def test_every_error_of_a_provider_is_known() -> None:
    of_recordings = {errors.RecordingMissing, errors.RecordingUnreadable}
    ours = {cls for cls in errors.UpstreamError.__subclasses__() if cls.__module__ == errors.__name__}
    assert set(FAILURES.values()) == {errors.UpstreamError} | ours - of_recordings
    assert {type(error) for error in PROVIDERS_ERRORS} == set(FAILURES.values())


@pytest.mark.parametrize("error", PROVIDERS_ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_comes_back_with_its_class_and_facts(folder: RecordingFolder, error: errors.UpstreamError) -> None:
    folder.write(NAME, Recording("o", {}, [Answer([], Failure.of(error))]))
    kept = folder.read(NAME)
    assert kept is not None
    assert kept.answers[0].failure is not None
    again = kept.answers[0].failure.raised_by("p")
    assert (type(again), vars(again), str(again)) == (type(error), vars(error), str(error))


def test_another_package_s_error_comes_back_as_ours_that_it_derives_from() -> None:
    class Melted(errors.UpstreamFailed):
        """A provider's own."""

        def __init__(self, degrees: int) -> None:
            super().__init__("p", f"It is {degrees} degrees hot.")
            self.degrees = degrees

    again = Failure.of(Melted(900)).raised_by("p")
    assert type(again) is errors.UpstreamFailed
    assert again.message == "It is 900 degrees hot."


WHOLE = json.loads(written(Recording("o", {}, [STREAM])))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file is not JSON: Expecting value"),
        ("[]", "the file must be a mapping"),
        ("{}", "format is required; operation is required; request is required; answers is required"),
        (json.dumps({**WHOLE, "format": 2}), "format must be 1, not 2"),
        (json.dumps({**WHOLE, "answers": []}), "answers"),
        (json.dumps({**WHOLE, "answers": [{"chunk": []}]}), "answers[0].chunks is required; answers[0].chunk unknown"),
        (json.dumps(WHOLE).replace("UpstreamFailed", "Nonsense"), "there is no error 'Nonsense'"),
        (json.dumps(WHOLE).replace("message", "massage"), "the facts of a failure are not those of UpstreamFailed"),
    ],
)
def test_a_file_that_is_no_recording_says_why(folder: RecordingFolder, text: str, told: str) -> None:
    put(folder, text)
    assert reason(folder).startswith(told)
    assert list(folder.all()) == []


def test_a_file_that_cannot_be_read_says_why(folder: RecordingFolder) -> None:
    (folder.path / NAME).mkdir(parents=True)
    assert reason(folder) == "the file cannot be read: Is a directory"


def test_a_folder_that_is_not_there_holds_nothing(folder: RecordingFolder) -> None:
    assert list(folder.all()) == []
    assert not folder.path.exists()


def test_the_documented_recording_is_one_as_it_would_be_written(folder: RecordingFolder) -> None:
    page = (Path(__file__).parents[4] / "docs" / "testing.md").read_text(encoding="utf-8")
    [example] = [text.partition("```")[0] for text in page.split("```json\n")[1:]]
    put(folder, example)
    recording = folder.read(NAME)
    assert recording is not None
    assert written(recording) == example
