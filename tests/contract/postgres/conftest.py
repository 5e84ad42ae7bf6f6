"""What the tests of PostgreSQL's own settings share: opening a database by the command line."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml
from typer.testing import CliRunner

from harness.server import scripted_config
from llama_conversations.cli.main import app

Upgrade: TypeAlias = Callable[[Mapping[str, object]], str]
"""From a backend's settings to what ``stack db upgrade`` says of them."""


def invoked(*arguments: str) -> tuple[int, str]:
    """A command's exit code, and what it says on standard error."""
    result = CliRunner().invoke(app, arguments, env={"NO_COLOR": "1"})
    assert "Traceback" not in result.output
    return result.exit_code, result.stderr


@pytest.fixture
def upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upgrade:
    """Open a database as ``stack db upgrade`` does: what it says if that fails, and nothing if not."""

    def run(backend: Mapping[str, object]) -> str:
        path = tmp_path / "run.yaml"
        sections = {"storage": {"backends": {"default": dict(backend)}}}
        path.write_text(yaml.safe_dump(scripted_config(tmp_path, "http://127.0.0.1:9/v1", **sections)))
        with monkeypatch.context() as meanwhile:
            # The driver leaves it to the loop to close what it gives up, and the command's loop ends there.
            meanwhile.setattr(sys, "unraisablehook", lambda _: None)
            exit_code, told = invoked("db", "upgrade", str(path))
            gc.collect()
        assert (exit_code == 0) == (told == ""), told
        return " ".join(told.split())

    return run
