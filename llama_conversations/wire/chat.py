"""Chat completions, passed through to a provider."""

from __future__ import annotations

from pydantic import Field

from llama_conversations.wire.base import JsonValue, OpenModel


class ChatCompletionRequest(OpenModel):
    """Body of ``POST /chat/completions``: all but ``model`` goes to the model server as it came."""

    model: str
    messages: list[JsonValue] = Field(min_length=1)
    stream: bool | None = None


class ChatCompletion(OpenModel):
    """A chat completion, as the model server wrote it."""

    id: str
    object: str
    model: str
    choices: list[JsonValue]
