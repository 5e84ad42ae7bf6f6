"""Asks models that speak chat completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from llama_conversations.services.responses.chat_deltas import Delta, read_chunk, read_completion
from llama_conversations.services.responses.chat_messages import Unseal, chat_messages
from llama_conversations.services.responses.chat_request import chat_request
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.services.responses.turn import Turn
from llama_conversations.wire.items import Item


class ChatWire:
    """One turn's model, asked in chat completions."""

    def __init__(self, turn: Turn, unseal: Unseal) -> None:
        self._turn, self._unseal = turn, unseal

    def request(self, context: Sequence[Item], toolbox: Toolbox, *, may_call: bool = True) -> bytes:
        """The request that ``ask`` sends.

        Errors: ``InvalidParameter``, ``UnsupportedParameter`` for a context that cannot be carried.
        """
        messages = chat_messages(self._turn.request.instructions, context, self._unseal)
        return chat_request(self._turn, messages, toolbox, may_call=may_call)

    async def ask(self, request: bytes) -> AsyncGenerator[Delta, None]:
        """What the model says. Errors: ``UpstreamError``."""
        model = self._turn.model
        if not self._turn.request.stream:
            for delta in read_completion(model.provider_id, await model.inference.chat_completion(request)):
                yield delta
            return
        async with aclosing(model.inference.stream_chat_completion(request)) as chunks:
            async for chunk in chunks:
                for delta in read_chunk(model.provider_id, chunk):
                    yield delta
