"""A context that does not fit: counted, made shorter by truncation, or made small by compaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import orjson

from llama_conversations.errors import InvalidParameter
from llama_conversations.services.models import RoutedModel
from llama_conversations.services.responses.chat_deltas import TextDelta, read_completion
from llama_conversations.services.responses.chat_messages import Unseal, after_compaction, chat_messages, is_users
from llama_conversations.services.responses.chat_parts import Speech, utterances
from llama_conversations.services.responses.history import NO_HISTORY, Context
from llama_conversations.services.responses.model_wire import ModelWire, write_request
from llama_conversations.services.responses.system_messages import message_array
from llama_conversations.services.responses.think_tags import ThinkTags
from llama_conversations.services.responses.token_estimate import item_tokens, least_tokens, request_tokens, text_tokens
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.services.responses.truncation import drop_oldest
from llama_conversations.services.responses.turn import Turn
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.items import Item
from llama_conversations.wire.responses import Usage

ANSWER_TOKENS = 512
"""Room that truncation leaves for an answer whose length the request does not bound."""

_TRUNCATIONS = 4
"""How often truncation counts again: estimates of single items may be too low."""

_COMPACT = (
    "You compress conversations. Summarize the conversation that follows so that it can be continued from your summary "
    "alone: keep facts, names, numbers, decisions, open questions, what tools returned that matters, and what the user "
    "wants and prefers. Write plain text, and nothing but the summary."
)
_COMPACT_NOW = "Write the summary of the conversation above now."


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Tokens of a request; ``estimated`` where the model server cannot count them."""

    tokens: int
    estimated: bool


async def count_tokens(model: RoutedModel, request: bytes) -> TokenCount:
    """What a chat completion request costs to read. Errors: ``UpstreamError``."""
    counted = await model.inference.count_tokens(request)
    return TokenCount(request_tokens(request), True) if counted is None else TokenCount(counted, False)


async def truncated(turn: Turn, wire: ModelWire, context: Context, toolbox: Toolbox) -> Context:
    """The context without as many of the oldest exchanges as it takes to fit into the model's own.

    Where the provider does not tell how long that is, all items stay. What a compaction stands for is not told to the
    model anyway: to leave it out would save nothing.
    """
    length = turn.model.context_length
    if length is None:
        return context
    counting = after_compaction(context)
    if counting is not context:
        context = Context(NO_HISTORY, counting)
    room = length - (turn.request.max_output_tokens or ANSWER_TOKENS)
    for _ in range(_TRUNCATIONS):
        excess = (await count_tokens(turn.model, await write_request(wire, context, toolbox))).tokens - room
        shorter = context if excess <= 0 else drop_oldest(context, excess, item_tokens)
        if shorter is context:
            break
        context = Context(NO_HISTORY, shorter)
    return context


async def check_fits(turn: Turn, request: bytes) -> None:
    """Refuse a context that is longer than the model's, where that is certain and nothing is to make it shorter.

    Nothing is counted for a context that is likely to fit: a token has a byte at least, and the estimate of the whole
    request leans to the high side. What the model server cannot count is refused only if it has more words than tokens
    fit in. Whatever else is too long, the model server refuses itself.

    Errors: ``InvalidParameter``.
    """
    length = turn.model.context_length
    if length is None or turn.request.truncation == "auto" or turn.request.context_management:
        return
    if len(request) <= length or text_tokens(request.decode()) <= length:
        return
    counted = await turn.model.inference.count_tokens(request)
    tokens, least = (least_tokens(request), "at least ") if counted is None else (counted, "")
    if tokens > length:
        message = (
            f"The input has {least}{tokens} tokens, and the model's context takes {length}. Shorten it, or let the "
            "server do so with 'truncation': 'auto'."
        )
        raise InvalidParameter(message, param="input", code="context_length_exceeded")


def compaction_threshold(turn: Turn) -> int | None:
    """From how many tokens on the turn's context is to be compacted, if at all."""
    thresholds = [entry.compact_threshold for entry in turn.request.context_management or ()]
    return min((threshold for threshold in thresholds if threshold is not None), default=None)


def split_for_compaction(items: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
    """What is summed up, and the user's messages at the end, which stay as they are."""
    at = len(items)
    while at > 0 and is_users(items[at - 1]):
        at -= 1
    return items[:at], items[at:]


@dataclass(frozen=True, slots=True)
class Summary:
    """A conversation in few words, and what it cost to write."""

    text: str
    usage: Usage | None


async def summarize(
    model: RoutedModel,
    items: Sequence[Item],
    unseal: Unseal,
    instructions: str | None = None,
    options: Mapping[str, JsonValue] = MappingProxyType({}),
) -> Summary:
    """Let the model sum up a conversation.

    Args:
        instructions: What else the summary should heed.
        options: Parameters of a chat completion request that are sent besides.

    Errors: ``UpstreamError``; ``InvalidParameter``, ``UnsupportedParameter`` for items that cannot be sent.
    """
    preamble = [Speech("system", _COMPACT if instructions is None else f"{_COMPACT}\n\n{instructions}")]
    messages = chat_messages([*preamble, *utterances(items, unseal), Speech("user", _COMPACT_NOW)], (), unseal)
    fields = orjson.dumps({"model": model.provider_model_id, **options})
    request = b'{"messages":%b,%b' % (message_array(messages, model.inference.system_messages), fields[1:])
    thoughts = ThinkTags()
    text: list[str] = []
    usage: Usage | None = None
    for delta in read_completion(model.provider_id, await model.inference.chat_completion(request)):
        if isinstance(delta, Usage):
            usage = delta
        text.extend(part.text for part in thoughts.add(delta) if isinstance(part, TextDelta))
    text.extend(part.text for part in thoughts.close() if isinstance(part, TextDelta))
    return Summary("".join(text), usage)
