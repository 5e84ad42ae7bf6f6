"""What ``stack run`` says once it serves."""

from __future__ import annotations

import io

import pytest
import typer

from llama_conversations.cli.welcome import base_url, example, model_for_example, show


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "variables", "shown"),
    [
        (Terminal(), {"TERM": "xterm"}, "\x1b[1mname\x1b[0m\nno [style]\n"),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, "name\nno [style]\n"),
        (Terminal(), {"TERM": "dumb"}, "name\nno [style]\n"),
        (io.StringIO(), {"TERM": "xterm"}, "name\nno [style]\n"),
    ],
)
def test_styles_are_for_terminals_that_have_them(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, variables: dict[str, str], shown: str
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", stream)
    show(typer.style("name", bold=True), "no [style]")
    assert stream.getvalue() == shown


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://localhost:8321/v1"),
        ("0.0.0.0", "http://localhost:8321/v1"),
        ("::", "http://localhost:8321/v1"),
        ("10.0.0.7", "http://10.0.0.7:8321/v1"),
        ("fe80::1", "http://[fe80::1]:8321/v1"),
        ("example.org", "http://example.org:8321/v1"),
    ],
)
def test_the_address_is_one_that_a_client_can_use(host: str, url: str) -> None:
    assert base_url(host, 8321) == url


def test_the_example_s_model_is_one_that_can_be_talked_to() -> None:
    names = {"a": ["babbage-002", "text-embedding-3-large", "whisper-1"], "b": ["gpt-4.1", "gpt-5"]}
    assert model_for_example(names) == "gpt-4.1"


def test_where_no_name_tells_the_first_model_is_taken() -> None:
    assert model_for_example({"a": ["nomic-embed-text"]}) == "nomic-embed-text"
    assert model_for_example({"a": []}) is None


def test_the_example_is_python() -> None:
    code = "\n".join(example("http://localhost:8321/v1", 'odd "name" \\ here'))
    compile(code, "example", "exec")
    assert len(code.splitlines()) == 3


def test_without_a_model_there_is_no_example_to_fail() -> None:
    assert "stack list models" in example("http://localhost:8321/v1", None)[0]
