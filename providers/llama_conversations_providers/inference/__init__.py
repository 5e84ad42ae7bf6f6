"""Providers of the ``inference`` API."""

from __future__ import annotations

from llama_conversations.stack.provider_spec import ProviderSpec
from llama_conversations_providers.inference.llama_cpp.config import LlamaCppConfig
from llama_conversations_providers.inference.openai_wire.config import OllamaConfig, OpenAIConfig, VLLMConfig

__all__ = ["specs"]

_OPENAI_WIRE = "llama_conversations_providers.inference.openai_wire.provider:create"
_LLAMA_CPP = "llama_conversations_providers.inference.llama_cpp.provider:create"
_SHARED_LLAMA_CPP = "llama_conversations_providers.inference.llama_cpp.shared:create"


def specs() -> list[ProviderSpec]:
    """One spec per kind of model server, and one for the embedded model."""
    return [
        ProviderSpec(
            api="inference",
            provider_type="remote::openai",
            config_class=OpenAIConfig,
            factory=_OPENAI_WIRE,
            description="OpenAI, or any server that speaks its chat completions",
        ),
        ProviderSpec(
            api="inference",
            provider_type="remote::vllm",
            config_class=VLLMConfig,
            factory=_OPENAI_WIRE,
            description="A vLLM server",
        ),
        ProviderSpec(
            api="inference",
            provider_type="remote::ollama",
            config_class=OllamaConfig,
            factory=_OPENAI_WIRE,
            description="An Ollama server",
        ),
        ProviderSpec(
            api="inference",
            provider_type="inline::llama-cpp",
            config_class=LlamaCppConfig,
            factory=_LLAMA_CPP,
            description="A GGUF model run by llama.cpp on this machine",
            pip_packages=("xllamacpp>=2026.1",),
            shared=_SHARED_LLAMA_CPP,
        ),
    ]
