"""One model in memory for all workers of a server: the process that supervises them loads it."""

from __future__ import annotations

from collections.abc import Mapping

from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations.wire.base import JsonValue
from llama_conversations_providers.inference.llama_cpp.config import ServedModel
from llama_conversations_providers.inference.llama_cpp.loaded_model import LoadedModel, llama_cpp_config


def create(context: ProviderContext) -> SharedModel:
    """The factory of what the workers' ``inline::llama-cpp`` share. Errors: as of ``LoadedModel``."""
    return SharedModel(LoadedModel(context.provider_id, llama_cpp_config(context)))


class SharedModel:
    """Implements ``SharedPart``: the model's process belongs to the supervisor, and outlives any worker."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._served: ServedModel | None = None

    async def initialize(self) -> None:
        """Load the model. Errors: as of ``LoadedModel.load``."""
        self._served = await self._model.load()

    async def shutdown(self) -> None:
        """End the model's process."""
        await self._model.stop()

    @property
    def settings(self) -> Mapping[str, JsonValue]:
        """Where the workers find it."""
        if self._served is None:
            raise LookupError("the model is not loaded")
        return {"served": {"address": self._served.address, "api_key": self._served.api_key.get_secret_value()}}
