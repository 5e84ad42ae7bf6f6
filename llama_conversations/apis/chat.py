"""The Chat Completions API, passed through to the model's provider."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from llama_conversations.apis.webmethod import webmethod
from llama_conversations.wire.answers import EventStream, Json
from llama_conversations.wire.chat import ChatCompletion, ChatCompletionRequest


class ChatCompletions(Protocol):
    """Chat completions; nothing is stored."""

    @webmethod(route="/chat/completions", method="POST")
    @abstractmethod
    async def create_chat_completion(self, request: ChatCompletionRequest) -> Json[ChatCompletion] | EventStream:
        """Create a chat completion, streamed if the request says ``"stream": true``."""
        ...
