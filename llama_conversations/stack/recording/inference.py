"""Inference that records what a provider says, or says it again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import orjson
from pydantic import TypeAdapter

from llama_conversations.apis.inference import Inference, OutputLimit, ProviderModel, SystemMessages, WireApi
from llama_conversations.config.findings import Finding, config_error
from llama_conversations.config.run_config import InferenceRecordingConfig
from llama_conversations.stack.provider_spec import Provider
from llama_conversations.stack.recording.folder import RecordingFolder
from llama_conversations.stack.recording.recorder import Recorder
from llama_conversations.wire.catalog import Health

_MODELS = TypeAdapter(Sequence[ProviderModel])


class RecordedInference(Inference):
    """A provider, recorded; or, replayed, one that is never opened, asked or closed.

    A further operation of ``Inference`` is a further method: the recorder's ``answer`` for one answer, ``stream`` for
    chunks, ``newest`` for what has no request. What is not bytes is turned into JSON and back, as models are.
    """

    def __init__(self, provider: Inference, recorder: Recorder) -> None:
        self._provider, self._recorder = provider, recorder

    async def initialize(self) -> None:
        """See ``Inference``."""
        if self._recorder.asks:
            await self._provider.initialize()

    async def shutdown(self) -> None:
        """See ``Inference``."""
        if self._recorder.asks:
            await self._provider.shutdown()

    async def health(self) -> Health:
        """See ``Inference``; a replay is always well."""
        return await self._provider.health() if self._recorder.asks else Health(status="ok")

    async def list_models(self) -> Sequence[ProviderModel]:
        """See ``Inference``; the newest list is kept."""

        async def ask() -> bytes:
            return _MODELS.dump_json(await self._provider.list_models())

        return _MODELS.validate_json(await self._recorder.newest("list_models", ask))

    @property
    def wire_api(self) -> WireApi:
        """See ``Inference``."""
        return self._provider.wire_api

    @property
    def output_limit(self) -> OutputLimit:
        """See ``Inference``."""
        return self._provider.output_limit

    @property
    def system_messages(self) -> SystemMessages:
        """See ``Inference``."""
        return self._provider.system_messages

    async def count_tokens(self, body: bytes) -> int | None:
        """See ``Inference``; kept as JSON."""

        async def ask() -> bytes:
            return orjson.dumps(await self._provider.count_tokens(body))

        counted: int | None = orjson.loads(await self._recorder.answer("count_tokens", body, ask))
        return counted

    async def create_response(self, body: bytes) -> bytes:
        """See ``Inference``."""
        return await self._recorder.answer("create_response", body, lambda: self._provider.create_response(body))

    def stream_response(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """See ``Inference``."""
        return self._recorder.stream("stream_response", body, lambda: self._provider.stream_response(body))

    async def chat_completion(self, body: bytes) -> bytes:
        """See ``Inference``."""
        return await self._recorder.answer("chat_completion", body, lambda: self._provider.chat_completion(body))

    def stream_chat_completion(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """See ``Inference``."""
        provider = self._provider
        return self._recorder.stream("stream_chat_completion", body, lambda: provider.stream_chat_completion(body))


def recorded(provider: Provider, provider_id: str, settings: InferenceRecordingConfig, source: str) -> Provider:
    """The provider, or, where it is one of inference and the mode is not ``live``, the same recorded or replayed.

    Args:
        source: Names the configuration in errors.

    Errors: ``ConfigError`` when the directory of recordings is not there to replay, or cannot be made.
    """
    if settings.mode == "live" or not isinstance(provider, Inference):
        return provider
    wrong = _what_is_wrong_with(settings)
    if wrong is not None:
        raise config_error(source, [Finding(("inference_recording", "directory"), f"{settings.directory}: {wrong}")])
    folder = RecordingFolder(settings.directory / provider_id)
    return RecordedInference(provider, Recorder(provider_id, settings.mode, folder))


def _what_is_wrong_with(settings: InferenceRecordingConfig) -> str | None:
    """Looks for the directory, or makes it, so that a wrong one is told at the start and not by the first turn."""
    try:
        if settings.mode == "replay":
            return None if settings.directory.is_dir() else "there is no such directory to replay from"
        settings.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"it cannot be used: {error.strerror}"
    return None
