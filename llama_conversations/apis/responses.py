"""The Responses API."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from llama_conversations.apis.channels import Channel
from llama_conversations.apis.conversations import Order
from llama_conversations.apis.webmethod import webmethod, websocket
from llama_conversations.wire.answers import EventStream, Json
from llama_conversations.wire.base import Limit
from llama_conversations.wire.conversations import ItemList
from llama_conversations.wire.include import IncludeList
from llama_conversations.wire.responses import (
    CompactContext,
    CompactedContext,
    CountTokens,
    CreateResponse,
    Response,
    ResponseDeleted,
    ResponseList,
    TokenCounts,
)


class Responses(Protocol):
    """Turns of a model, kept or not, alone, in a chain or in a conversation (OpenAI API reference, Responses)."""

    @webmethod(route="/responses", method="POST")
    @abstractmethod
    async def create_response(self, request: CreateResponse) -> Json[Response] | EventStream:
        """Take a turn: the model is given the history and the input; streamed if ``"stream": true``."""
        ...

    @websocket(route="/responses")
    @abstractmethod
    def connect(self) -> Channel:
        """Take turns over a connection, which can also continue what is not stored."""
        ...

    @webmethod(route="/responses", method="GET")
    @abstractmethod
    async def list_responses(
        self,
        *,
        limit: Limit = 20,
        order: Order = "desc",
        after: str | None = None,
        before: str | None = None,
        model: str | None = None,
    ) -> Json[ResponseList]:
        """List the caller's stored responses by the time of their creation (not part of the hosted API)."""
        ...

    @webmethod(route="/responses/{response_id}", method="GET")
    @abstractmethod
    async def get_response(
        self,
        response_id: str,
        *,
        include: IncludeList | None = None,
        stream: bool | None = None,
        starting_after: int | None = None,
        include_obfuscation: bool | None = None,
    ) -> Json[Response] | EventStream:
        """Retrieve a stored response.

        With ``stream=true``, the events of one that was created with ``background`` and ``stream``: those behind
        ``starting_after`` are replayed, then what comes is shown as it comes.
        """
        ...

    @webmethod(route="/responses/{response_id}/cancel", method="POST")
    @abstractmethod
    async def cancel_response(self, response_id: str) -> Json[Response]:
        """Cancel a background response."""
        ...

    @webmethod(route="/responses/input_tokens", method="POST")
    @abstractmethod
    async def count_input_tokens(self, request: CountTokens) -> Json[TokenCounts]:
        """Count what a turn would give the model to read.

        The header ``x-input-tokens-estimated: true`` marks an estimate: the model server has no counter of its own.
        """
        ...

    @webmethod(route="/responses/compact", method="POST")
    @abstractmethod
    async def compact_context(self, request: CompactContext) -> Json[CompactedContext]:
        """Sum up a context, so that a conversation can go on with fewer tokens. Nothing is stored."""
        ...

    @webmethod(route="/responses/{response_id}", method="DELETE")
    @abstractmethod
    async def delete_response(self, response_id: str) -> Json[ResponseDeleted]:
        """Delete a stored response. What its turn added to a conversation stays there."""
        ...

    @webmethod(route="/responses/{response_id}/input_items", method="GET")
    @abstractmethod
    async def list_input_items(
        self,
        response_id: str,
        *,
        limit: Limit = 20,
        order: Order = "desc",
        after: str | None = None,
        include: IncludeList | None = None,
    ) -> Json[ItemList]:
        """List everything that the model was given: the history, then the response's own input."""
        ...
