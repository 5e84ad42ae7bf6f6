"""``--inference-mode`` and ``--recordings``: what they leave as the configuration says, and what they change."""

from __future__ import annotations

from pathlib import Path

import pytest

from llama_conversations.cli.serving import Recording
from llama_conversations.config import InferenceRecordingConfig, LoadedConfig, load_run_config
from llama_conversations.errors import ConfigError

FILE = {"distro_name": "mine", "inference_recording": {"mode": "replay", "directory": "of-the-file"}}


def with_options(tree: dict[str, object], *options: object) -> LoadedConfig:
    return Recording(*options).applied_to(load_run_config(tree, {}))


@pytest.mark.parametrize(
    ("options", "mode", "directory"),
    [
        ((None, None), "replay", "of-the-file"),
        (("record", None), "record", "of-the-file"),
        ((None, Path("other")), "replay", "other"),
        (("live", Path("~/other")), "live", str(Path.home() / "other")),
    ],
)
def test_each_option_wins_for_itself(options: tuple[object, ...], mode: str, directory: str) -> None:
    loaded = with_options(FILE, *options)
    assert loaded.config.inference_recording == InferenceRecordingConfig(mode=mode, directory=Path(directory))
    assert loaded.config.distro_name == "mine"


def test_without_either_it_is_live() -> None:
    assert with_options({}, None, None).config.inference_recording == InferenceRecordingConfig(
        mode="live", directory=Path("recordings")
    )


@pytest.mark.parametrize("options", [("reply", None), ("", None), ("Replay", Path("x"))])
def test_a_mode_that_there_is_not_is_an_error(options: tuple[object, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        with_options({}, *options)
    [problem] = caught.value.problems
    assert caught.value.source == "command line"
    assert str(problem) == (
        f"inference_recording.mode: must be 'live', 'record', 'replay' or 'record-if-missing', not '{options[0]}'"
    )


def test_a_directory_of_somebody_unknown_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'~' cannot be expanded"):
        with_options({}, None, Path("~nobody-of-that-name/x"))
