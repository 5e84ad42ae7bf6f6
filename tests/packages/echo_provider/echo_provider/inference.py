"""Inference without a model."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Sequence

from echo_provider import EchoConfig
from llama_conversations.apis.inference import Inference, ProviderModel
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations.wire.catalog import Health


def make(context: ProviderContext) -> EchoInference:
    assert isinstance(context.config, EchoConfig)
    return EchoInference(context.config)


class EchoInference(Inference):
    def __init__(self, config: EchoConfig) -> None:
        self._config = config

    async def initialize(self) -> None: ...

    async def shutdown(self) -> None: ...

    async def health(self) -> Health:
        return Health(status="ok")

    async def list_models(self) -> Sequence[ProviderModel]:
        return [ProviderModel(name) for name in self._config.models]

    async def chat_completion(self, body: bytes) -> bytes:
        message = {"role": "assistant", "content": self._answer(body)}
        return self._written(body, "chat.completion", {"index": 0, "message": message, "finish_reason": "stop"})

    async def stream_chat_completion(self, body: bytes) -> AsyncGenerator[bytes, None]:
        for word in self._answer(body).split(" "):
            delta = {"index": 0, "delta": {"role": "assistant", "content": f"{word} "}, "finish_reason": None}
            yield self._written(body, "chat.completion.chunk", delta)
        yield self._written(body, "chat.completion.chunk", {"index": 0, "delta": {}, "finish_reason": "stop"})

    def _answer(self, body: bytes) -> str:
        content = json.loads(body)["messages"][-1]["content"]
        text = content if isinstance(content, str) else "".join(part["text"] for part in content)
        return self._config.greeting + text

    def _written(self, body: bytes, kind: str, choice: dict[str, object]) -> bytes:
        answer = {
            "id": "chatcmpl-echo",
            "object": kind,
            "created": int(time.time()),
            "model": json.loads(body)["model"],
            "choices": [choice],
        }
        if kind == "chat.completion" or choice["finish_reason"]:
            answer["usage"] = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return json.dumps(answer).encode()
