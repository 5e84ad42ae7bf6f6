"""Inference: what a provider of models does. Not served over HTTP; the services call it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from llama_conversations.wire.catalog import Health


@dataclass(frozen=True, slots=True)
class ProviderModel:
    """A model as its provider lists it.

    Attributes:
        id: The provider's own name of it, sent back to it as ``model``.
        created: Seconds since 1970, where the provider tells.
        context_length: Tokens that fit into its context, where the provider tells.
    """

    id: str
    created: int | None = None
    owned_by: str | None = None
    context_length: int | None = None


WireApi = Literal["chat", "responses"]
"""``chat``: chat completions, which most model servers speak; ``responses``: the Responses API itself."""


OutputLimit = Literal["max_tokens", "max_completion_tokens"]
"""``max_tokens`` is what every model server knows; OpenAI's reasoning models take the other one only."""


SystemMessages = Literal["anywhere", "first"]
"""Where a model server takes system messages. Many chat templates know one, as the first message, and refuse others or
leave them out: with ``first``, what the system says further on is told as the user's."""


@runtime_checkable
class Inference(Protocol):
    """Models of one provider. Requests and answers are JSON as bytes: no object is made per token.

    Inherit from it: what a provider does not say is answered here. It is asked in chat completions, and counts nothing.

    Errors: every method raises the fitting kind of ``errors.UpstreamError`` for whatever the model server does.
    """

    @property
    def wire_api(self) -> WireApi:
        """Which API the model server is asked in."""
        return "chat"

    @abstractmethod
    async def initialize(self) -> None:
        """Open connections, start processes. An unreachable model server is no error here: it may come up later."""
        ...

    @abstractmethod
    async def shutdown(self) -> None:
        """Close what ``initialize`` opened."""
        ...

    @abstractmethod
    async def health(self) -> Health:
        """Whether the model server answers now; never raises."""
        ...

    @abstractmethod
    async def list_models(self) -> Sequence[ProviderModel]:
        """The models that the model server has now."""
        ...

    @property
    def output_limit(self) -> OutputLimit:
        """The name by which the model server takes the limit of an answer's length."""
        return "max_tokens"

    @property
    def system_messages(self) -> SystemMessages:
        """Where the model server takes system messages."""
        return "anywhere"

    async def count_tokens(self, body: bytes) -> int | None:  # noqa: ARG002  (for those who can count)
        """What a chat completion request (as for ``chat_completion``) costs to read, in tokens.

        ``None`` where the model server has no counter of its own.
        """
        return None

    @abstractmethod
    async def chat_completion(self, body: bytes) -> bytes:
        """One chat completion. ``body`` is a request with ``model`` being the provider's own id, without ``stream``."""
        ...

    @abstractmethod
    def stream_chat_completion(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """The chunks of a chat completion, each the JSON of one ``chat.completion.chunk``, without SSE framing.

        ``body`` has ``"stream": true``. The generator ends after the model server's ``[DONE]`` (or its clean end of
        stream); closing it (``aclose``) drops the connection, so that the model server stops working.
        """
        ...

    async def create_response(self, body: bytes) -> bytes:  # noqa: ARG002  (for those who have it)
        """One response, of a model server with ``wire_api`` ``responses``; ``body`` is a request without ``stream``."""
        raise LookupError("this provider is asked in chat completions")

    def stream_response(self, body: bytes) -> AsyncGenerator[bytes, None]:  # noqa: ARG002  (as above)
        """The events of a response, each the JSON of one event, without SSE framing; as ``stream_chat_completion``."""
        raise LookupError("this provider is asked in chat completions")
