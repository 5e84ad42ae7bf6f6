"""Servers that record and replay."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from harness.forked import ForkedServer
from harness.server import scripted_config

pytest.register_assert_rewrite("harness.answers", "harness.event_stream", "harness.tools", "harness.turns")

STACK = str(Path(sys.executable).with_name("stack"))
LAST_LINE = "Ctrl-C stops it"


@contextmanager
def serving(
    directory: Path, model_url: str, mode: str, recordings: Path, **sections: object
) -> Iterator[httpx2.Client]:
    """A server on an empty database in ``directory``; a client for it."""
    directory.mkdir()
    recording = {"mode": mode, "directory": str(recordings)}
    server = ForkedServer(directory, scripted_config(directory, model_url, inference_recording=recording, **sections))
    try:
        with server.start().http() as http:
            yield http
        assert server.stop() == 0
    finally:
        server.close()


@contextmanager
def running(*arguments: str) -> Iterator[str]:
    """A ``stack run``; what it has printed once it serves. It is asked to end, and must."""
    environ = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    with subprocess.Popen([STACK, "run", *arguments], env=environ, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if LAST_LINE in line:
                    break
            yield "".join(lines)
        finally:
            process.terminate()
        assert process.wait(30) == 0
