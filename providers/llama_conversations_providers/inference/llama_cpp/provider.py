"""Inference by a GGUF model on this machine."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from importlib.util import find_spec
from pathlib import Path

from pydantic import SecretStr

from llama_conversations.apis.inference import Inference, ProviderModel, SystemMessages
from llama_conversations.errors import ConfigError, ConfigProblem, UpstreamUnreachable
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations.wire.catalog import Health
from llama_conversations_providers.inference.llama_cpp.config import LlamaCppConfig
from llama_conversations_providers.inference.llama_cpp.gguf import (
    ModelFileMissing,
    check_model_file,
    model_id_of,
    packaged_model,
)
from llama_conversations_providers.inference.llama_cpp.process import ModelProcess, ModelProcessFailed
from llama_conversations_providers.inference.llama_cpp.serve import Launch
from llama_conversations_providers.inference.openai_wire.config import RemoteConfig
from llama_conversations_providers.inference.openai_wire.provider import OpenAIInference

ENGINE_PACKAGE = "xllamacpp"


def create(context: ProviderContext) -> LlamaCppInference:
    """The factory of ``inline::llama-cpp``. Raises ``ConfigError`` when the engine or the model is not installed."""
    config = context.config
    if not isinstance(config, LlamaCppConfig):
        raise TypeError(f"expected a LlamaCppConfig, got {type(config).__name__}")
    if find_spec(ENGINE_PACKAGE) is None:
        missing = f"{ENGINE_PACKAGE} is not installed: run `pip install 'llama-conversations[llama-cpp]'`"
        raise _config_error(context.provider_id, "", missing)
    try:
        path = packaged_model() if config.model_path is None else config.model_path.expanduser()
        check_model_file(path)
    except ModelFileMissing as error:
        raise _config_error(context.provider_id, "model_path", str(error)) from error
    return LlamaCppInference(context.provider_id, config, path)


def _config_error(provider_id: str, key: str, message: str) -> ConfigError:
    return ConfigError(f"provider '{provider_id}'", [ConfigProblem(key, message)])


class LlamaCppInference(Inference):
    """Chat completions from one GGUF model, through the HTTP server of a process that belongs to this provider.

    Args:
        provider_id: Its name in run.yaml.
        config: How much of the machine the model may take.
        path: The GGUF file, seen to be one.
    """

    def __init__(self, provider_id: str, config: LlamaCppConfig, path: Path) -> None:
        self._provider_id, self._config, self._path = provider_id, config, path
        self._process = ModelProcess()
        self._server: OpenAIInference | None = None

    async def initialize(self) -> None:
        """Load the model: seconds, more for large files. Raises ``ConfigError`` when llama.cpp cannot load it."""
        key = secrets.token_urlsafe(32)  # other users of the machine can reach the port, and shall not use it
        try:
            address = await self._process.start(self._launch(key))
        except ModelProcessFailed as error:
            message = f"llama.cpp cannot load '{self._path}': {error}"
            raise _config_error(self._provider_id, "model_path", message) from error
        config = RemoteConfig(
            base_url=f"{address}/v1",
            api_key=SecretStr(key),
            max_retries=1,
            token_counter="llama-cpp",  # noqa: S106  (no secret)
        )
        self._server = OpenAIInference(self._provider_id, config)
        await self._server.initialize()

    async def shutdown(self) -> None:
        """End the model's process, with whatever it is computing."""
        if self._server is not None:
            await self._server.shutdown()
        await self._process.stop()

    async def health(self) -> Health:
        """Whether the model's process runs and answers."""
        if self._process.exit_code is not None:
            return Health(status="error", message=f"the model's process ended with code {self._process.exit_code}")
        if self._server is None:
            return Health(status="error", message="the model is not loaded")
        return await self._server.health()

    async def list_models(self) -> Sequence[ProviderModel]:
        """The one model, with the context that a turn has."""
        return await self._running().list_models()

    @property
    def system_messages(self) -> SystemMessages:
        """At the beginning: the template is the GGUF file's, whatever that is."""
        return "first"

    async def chat_completion(self, body: bytes) -> bytes:
        """One chat completion."""
        return await self._running().chat_completion(body)

    def stream_chat_completion(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """The chunks of a chat completion."""
        return self._running().stream_chat_completion(body)

    async def count_tokens(self, body: bytes) -> int | None:
        """As llama.cpp's own template and tokenizer have it."""
        return await self._running().count_tokens(body)

    def _running(self) -> OpenAIInference:
        if self._server is None:
            raise UpstreamUnreachable(self._provider_id, "The model is not loaded.")
        return self._server

    def _launch(self, key: str) -> Launch:
        config = self._config
        return Launch(
            model_path=str(self._path),
            model_id=config.model_id or model_id_of(self._path),
            api_key=key,
            context_length=config.context_length,
            threads=config.threads,
            parallel=config.parallel,
        )
