"""Servers started with ``stack run --inference-mode``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import yaml

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
    config = directory / "run.yaml"
    config.write_text(yaml.safe_dump(scripted_config(directory, model_url, **sections)))
    options = ["--port", "0", "--inference-mode", mode, "--recordings", str(recordings)]
    with running(str(config), *options) as output:
        [url] = re.findall(r"Serving\s+(http://\S+/v1)", output)
        with httpx2.Client(base_url=url.replace("localhost", "127.0.0.1"), timeout=60) as http:
            yield http


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
