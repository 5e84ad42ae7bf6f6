"""A provider behind its recordings: what of it is used in which mode."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from llama_conversations.apis.inference import Inference, ProviderModel
from llama_conversations.config.run_config import InferenceRecordingConfig, RecordingMode
from llama_conversations.errors import ConfigError
from llama_conversations.stack.provider_spec import Provider
from llama_conversations.stack.recording.inference import recorded
from llama_conversations.wire.catalog import Health

MODELS = [ProviderModel("a", created=7, owned_by="me", context_length=4096), ProviderModel("b")]
BODY = b'{"model":"a","messages":[]}'


class Scripted(Inference):
    """Writes down what is called; takes system messages at the beginning."""

    system_messages = "first"

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def initialize(self) -> None:
        self.calls.append("initialize")

    async def shutdown(self) -> None:
        self.calls.append("shutdown")

    async def health(self) -> Health:
        self.calls.append("health")
        return Health(status="error", message="It is down.")

    async def list_models(self) -> Sequence[ProviderModel]:
        self.calls.append("list_models")
        return MODELS

    async def chat_completion(self, body: bytes) -> bytes:
        self.calls.append(f"chat_completion {body.decode()}")
        return b'{"choices":[]}'

    async def stream_chat_completion(self, body: bytes) -> AsyncGenerator[bytes, None]:
        self.calls.append(f"stream_chat_completion {body.decode()}")
        yield b'{"choices":[]}'


class NoInference:
    """A provider of something else."""

    async def initialize(self) -> None: ...

    async def shutdown(self) -> None: ...

    async def health(self) -> Health:
        return Health(status="ok")


def behind(provider: Provider, directory: Path, mode: RecordingMode) -> Provider:
    return recorded(provider, "p", InferenceRecordingConfig(mode=mode, directory=directory), "run.yaml")


async def use(provider: Provider) -> list[object]:
    assert isinstance(provider, Inference)
    await provider.initialize()
    said: list[object] = [await provider.list_models(), await provider.chat_completion(BODY)]
    said += [chunk async for chunk in provider.stream_chat_completion(BODY)]
    await provider.shutdown()
    return said


ALL_CALLS = [
    "initialize",
    "list_models",
    f"chat_completion {BODY.decode()}",
    f"stream_chat_completion {BODY.decode()}",
    "shutdown",
]


async def test_recorded_it_does_all_that_it_does_alone(tmp_path: Path) -> None:
    alone, behind_recordings = Scripted(), Scripted()
    assert await use(behind(behind_recordings, tmp_path, "record")) == await use(alone)
    assert behind_recordings.calls == alone.calls == ALL_CALLS
    assert sorted(file.name.partition("-")[0] for file in (tmp_path / "p").iterdir()) == [
        "chat_completion",
        "list_models",
        "stream_chat_completion",
    ]


async def test_replayed_it_is_not_called_at_all(tmp_path: Path) -> None:
    live = await use(behind(Scripted(), tmp_path, "record"))
    provider = Scripted()
    replayed = behind(provider, tmp_path, "replay")
    assert await use(replayed) == live
    assert await replayed.health() == Health(status="ok")
    assert provider.calls == []


async def test_where_recordings_are_made_health_is_the_provider_s_own(tmp_path: Path) -> None:
    for mode in ("record", "record-if-missing"):
        assert (await behind(Scripted(), tmp_path, mode).health()).message == "It is down."


async def test_with_everything_recorded_nothing_more_is_asked(tmp_path: Path) -> None:
    live = await use(behind(Scripted(), tmp_path, "record"))
    provider = Scripted()
    assert await use(behind(provider, tmp_path, "record-if-missing")) == live
    assert provider.calls == ["initialize", "shutdown"]


def test_live_and_what_is_no_inference_is_left_alone(tmp_path: Path) -> None:
    provider, other = Scripted(), NoInference()
    assert behind(provider, tmp_path / "none", "live") is provider
    assert behind(other, tmp_path / "none", "replay") is other
    assert not (tmp_path / "none").exists()


def test_a_directory_to_replay_from_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        behind(Scripted(), tmp_path / "none", "replay")
    [problem] = caught.value.problems
    assert problem.path == "inference_recording.directory"
    assert problem.message == f"{tmp_path / 'none'}: there is no such directory to replay from"


def test_a_directory_to_record_into_is_made_or_it_is_said_why_not(tmp_path: Path) -> None:
    behind(Scripted(), tmp_path / "new" / "one", "record")
    assert (tmp_path / "new" / "one").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"inference_recording\.directory: .*/file: it cannot be used: File exists"):
        behind(Scripted(), tmp_path / "file", "record-if-missing")


def test_how_a_provider_is_asked_is_told_whether_it_is_opened_or_not(tmp_path: Path) -> None:
    provider = behind(Scripted(), tmp_path, "replay")
    assert isinstance(provider, Inference)
    assert (provider.wire_api, provider.output_limit, provider.system_messages) == ("chat", "max_tokens", "first")
