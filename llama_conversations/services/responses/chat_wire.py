"""Asks models that speak chat completions."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

from llama_conversations.errors import InvalidParameter, UpstreamRejected
from llama_conversations.services.responses.chat_deltas import Delta, read_chunk, read_completion
from llama_conversations.services.responses.chat_messages import Unseal
from llama_conversations.services.responses.chat_parts import Speech, Utterance, chat_part
from llama_conversations.services.responses.chat_request import chat_request
from llama_conversations.services.responses.history import Context
from llama_conversations.services.responses.prompt_template import PromptPart
from llama_conversations.services.responses.think_tags import ThinkTags
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.services.responses.turn import Turn


class ChatWire:
    """One turn's model, asked in chat completions.

    Attributes:
        prompt: The request's stored prompt, filled in.
    """

    def __init__(self, turn: Turn, unseal: Unseal) -> None:
        self._turn, self._unseal = turn, unseal
        self.prompt: Sequence[PromptPart] = ()

    def request(self, context: Context, toolbox: Toolbox, *, may_call: bool = True) -> bytes:
        """The request that ``ask`` sends.

        Errors: ``InvalidParameter``, ``UnsupportedParameter`` for a context that cannot be carried.
        """
        preamble = list(_preamble(self.prompt, self._turn.request.instructions))
        messages = context.chat_messages(preamble, self._unseal, toolbox.name_of)
        if not messages and self._turn.generate:
            raise InvalidParameter(_NOTHING, param="input", code=None)
        return chat_request(self._turn, messages, toolbox, may_call=may_call)

    async def ask(self, request: bytes) -> AsyncGenerator[Delta, None]:
        """What the model says. Errors: ``UpstreamError``."""
        thoughts = ThinkTags()
        try:
            async with aclosing(self._deltas(request)) as deltas:
                async for delta in deltas:
                    for part in thoughts.add(delta):
                        yield part
        except UpstreamRejected as error:
            error.param = _callers_name(error.param)
            raise
        for part in thoughts.close():
            yield part

    async def _deltas(self, request: bytes) -> AsyncGenerator[Delta, None]:
        model = self._turn.model
        if not self._turn.request.stream:
            for delta in read_completion(model.provider_id, await model.inference.chat_completion(request)):
                yield delta
            return
        async with aclosing(model.inference.stream_chat_completion(request)) as chunks:
            async for chunk in chunks:
                for delta in read_chunk(model.provider_id, chunk):
                    yield delta


_NOTHING = (
    "There is nothing to tell the model: the input, and what it continues, hold nothing that chat completions carry."
)

_CALLERS_NAMES = {
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
}


def _callers_name(param: str | None) -> str | None:
    """What the caller sent that became a parameter of the chat completion request; only its begin has a name there."""
    if param is None:
        return None
    name = re.split(r"[.\[]", param, maxsplit=1)[0]
    return _CALLERS_NAMES.get(name, param)


def _preamble(prompt: Sequence[PromptPart], instructions: str | None) -> Iterator[Utterance]:
    """What stands before the conversation: the prompt and the instructions.

    A prompt that is more than text is the user's message, and stands behind the instructions: the system speaks first.
    """
    parts = [chat_part(part) for part in prompt]
    is_text = all(part["type"] == "text" for part in parts)
    if parts and is_text:
        yield Speech("system", "".join(str(part["text"]) for part in parts))
    if instructions is not None:
        yield Speech("system", instructions)
    if not is_text:
        yield Speech("user", [*parts])
