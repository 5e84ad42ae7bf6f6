"""The example in docs/testing.md works as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from scripted_model import ScriptedModel

DOCS = (Path(__file__).parents[3] / "docs" / "testing.md").read_text(encoding="utf-8")


def block(language: str, beginning: str) -> str:
    """The one block of a language that begins so."""
    [found] = [text for text in re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL) if text.startswith(beginning)]
    return found


def run_pytest(directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["-p", "no:langsmith_plugin"]  # comes with a client, and is large
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "OPENAI_"))}
    return subprocess.run(
        command, cwd=directory, env=environ | variables, text=True, capture_output=True, timeout=100, check=False
    )


def test_the_documented_tests_pass_recording_and_then_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(block("yaml", "version: 1"))
    (tmp_path / "test_app.py").write_text(block("python", "import os"))
    with ScriptedModel() as model:
        recorded = run_pytest(tmp_path, INFERENCE_MODE="record", OPENAI_BASE_URL=model.base_url, MODEL="echo")
    assert recorded.returncode == 0, recorded.stdout
    replayed = run_pytest(tmp_path, MODEL="echo")
    assert replayed.returncode == 0, replayed.stdout
    assert "2 passed" in replayed.stdout
    assert [path.name for path in sorted((tmp_path / "recordings").iterdir())] == [
        "test_an_answer_is_streamed",
        "test_what_was_said_is_remembered",
    ]
