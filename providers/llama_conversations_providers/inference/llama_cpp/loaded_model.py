"""A GGUF model in memory: found, loaded by a process of its own, and served until it is stopped."""

from __future__ import annotations

import secrets
from importlib.util import find_spec

from pydantic import SecretStr

from llama_conversations.errors import ConfigError, ConfigProblem
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations_providers.inference.llama_cpp.config import LlamaCppConfig, ServedModel
from llama_conversations_providers.inference.llama_cpp.gguf import (
    ModelFileMissing,
    check_model_file,
    model_id_of,
    packaged_model,
)
from llama_conversations_providers.inference.llama_cpp.process import ModelProcess, ModelProcessFailed
from llama_conversations_providers.inference.llama_cpp.serve import Launch

ENGINE_PACKAGE = "xllamacpp"


def llama_cpp_config(context: ProviderContext) -> LlamaCppConfig:
    """The settings in a context."""
    if not isinstance(context.config, LlamaCppConfig):
        raise TypeError(f"expected a LlamaCppConfig, got {type(context.config).__name__}")
    return context.config


class LoadedModel:
    """A model, from ``load`` to ``stop``.

    Args:
        provider_id: Whose it is, for errors.
        config: Which file, and how much of the machine the model may take.

    Errors: ``ConfigError`` when the engine or the model is not installed.
    """

    def __init__(self, provider_id: str, config: LlamaCppConfig) -> None:
        self._provider_id, self._config = provider_id, config
        if find_spec(ENGINE_PACKAGE) is None:
            missing = f"{ENGINE_PACKAGE} is not installed: run `pip install 'llama-conversations[llama-cpp]'`"
            raise self._error("", missing)
        try:
            self._path = packaged_model() if config.model_path is None else config.model_path.expanduser()
            check_model_file(self._path)
        except ModelFileMissing as error:
            raise self._error("model_path", str(error)) from error
        self._process = ModelProcess()

    @property
    def exit_code(self) -> int | None:
        """Of a process that has ended; ``None`` while it runs."""
        return self._process.exit_code

    async def load(self) -> ServedModel:
        """Load it: seconds, more for large files. Errors: ``ConfigError`` when llama.cpp cannot load it."""
        key = secrets.token_urlsafe(32)  # other users of the machine can reach the port, and shall not use it
        try:
            address = await self._process.start(self._launch(key))
        except ModelProcessFailed as error:
            raise self._error("model_path", f"llama.cpp cannot load '{self._path}': {error}") from error
        return ServedModel(address=address, api_key=SecretStr(key))

    async def stop(self) -> None:
        """End the process, with whatever it is computing."""
        await self._process.stop()

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

    def _error(self, key: str, message: str) -> ConfigError:
        return ConfigError(f"provider '{self._provider_id}'", [ConfigProblem(key, message)])
