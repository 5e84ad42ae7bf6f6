"""Logging goes to standard error, in one format, at the level that was asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from llama_conversations.log import configure_logging, get_logger


@pytest.fixture(autouse=True)
def _root_logger_is_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["DEBUG", "INFO", "WARNING", "ERROR"]),
        ("info", ["INFO", "WARNING", "ERROR"]),
        ("warning", ["WARNING", "ERROR"]),
        ("error", ["ERROR"]),
    ],
)
def test_the_level_decides_what_is_shown(level: str, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level)
    logger = get_logger("llama_conversations.some.module")
    for name in ("debug", "info", "warning", "error"):
        getattr(logger, name)("a %s", "message")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line.split()[2] for line in lines] == shown
    assert all(line.endswith("llama_conversations.some.module: a message") for line in lines)


def test_configuring_again_replaces_what_was_and_doubles_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    configure_logging("error")
    get_logger("a").warning("hidden")
    get_logger("a").error("shown")
    assert capsys.readouterr().err.count("\n") == 1


def test_an_unknown_level_is_an_error() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging("loud")


def test_a_module_has_one_logger() -> None:
    assert get_logger("a.b") is get_logger("a.b") is logging.getLogger("a.b")
