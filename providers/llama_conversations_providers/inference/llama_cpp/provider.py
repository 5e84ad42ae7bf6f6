"""Inference by a GGUF model on this machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from llama_conversations.apis.inference import Inference, ProviderModel, SystemMessages
from llama_conversations.errors import UpstreamUnreachable
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations.wire.catalog import Health
from llama_conversations_providers.inference.llama_cpp.config import ServedModel
from llama_conversations_providers.inference.llama_cpp.loaded_model import LoadedModel, llama_cpp_config
from llama_conversations_providers.inference.openai_wire.config import RemoteConfig
from llama_conversations_providers.inference.openai_wire.provider import OpenAIInference


def create(context: ProviderContext) -> LlamaCppInference:
    """The factory of ``inline::llama-cpp``. Raises ``ConfigError`` when the engine or the model is not installed."""
    config = llama_cpp_config(context)
    loading = None if config.served else LoadedModel(context.provider_id, config)
    return LlamaCppInference(context.provider_id, config.served, loading)


class LlamaCppInference(Inference):
    """Chat completions from one GGUF model, through the HTTP server of a process of its own.

    Args:
        provider_id: Its name in run.yaml.
        served: Where the model is served already, for several workers; they do not load it.
        loading: The model to load, otherwise.
    """

    def __init__(self, provider_id: str, served: ServedModel | None, loading: LoadedModel | None) -> None:
        self._provider_id, self._served, self._loading = provider_id, served, loading
        self._server: OpenAIInference | None = None

    async def initialize(self) -> None:
        """Load the model: seconds, more for large files. Raises ``ConfigError`` when llama.cpp cannot load it."""
        served = self._served if self._loading is None else await self._loading.load()
        if served is None:
            raise TypeError("there is neither a model to load nor one that is served")
        config = RemoteConfig(
            base_url=f"{served.address}/v1",
            api_key=served.api_key,
            max_retries=1,
            token_counter="llama-cpp",  # noqa: S106  (no secret)
        )
        self._server = OpenAIInference(self._provider_id, config)
        await self._server.initialize()

    async def shutdown(self) -> None:
        """End the model's process, with whatever it is computing."""
        if self._server is not None:
            await self._server.shutdown()
        if self._loading is not None:
            await self._loading.stop()

    async def health(self) -> Health:
        """Whether the model's process runs and answers."""
        if self._loading is not None and self._loading.exit_code is not None:
            return Health(status="error", message=f"the model's process ended with code {self._loading.exit_code}")
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
