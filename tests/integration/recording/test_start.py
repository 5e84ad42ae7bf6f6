"""``--inference-mode`` and ``--recordings`` on the command line, over what the configuration says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from harness.server import scripted_config
from integration.recording.conftest import STACK, running


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration that replays, in front of nobody."""
    (tmp_path / "of-the-file").mkdir()
    recording = {"mode": "replay", "directory": str(tmp_path / "of-the-file")}
    document = scripted_config(tmp_path, "http://127.0.0.1:1/v1", inference_recording=recording)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(document))
    return tmp_path / "run.yaml"


def fails(*arguments: str) -> str:
    ended = subprocess.run(
        [STACK, "run", *arguments, "--port", "0"], text=True, capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_the_configuration_says_whether_and_where(config: Path) -> None:
    with running(str(config), "--port", "0") as output:
        assert f"Inference replay: {config.parent / 'of-the-file'}\n" in output


def test_options_win(config: Path) -> None:
    directory = config.parent / "of the line"
    options = ["--inference-mode", "record", "--recordings", str(directory)]
    with running(str(config), "--port", "0", *options) as output:
        assert f"Inference record: {directory}\n" in output
    assert directory.is_dir()


def test_a_mode_that_there_is_not_is_told(config: Path) -> None:
    assert fails(str(config), "--inference-mode", "reply") == (
        "command line: 1 problem\n"
        "  inference_recording.mode: must be 'live', 'record', 'replay' or 'record-if-missing', not 'reply'\n"
    )


def test_a_directory_that_is_not_there_to_replay_from_is_told(config: Path) -> None:
    nowhere = config.parent / "nowhere"
    assert f"inference_recording.directory: {nowhere}: there is no such directory to replay from" in fails(
        str(config), "--recordings", str(nowhere)
    )
