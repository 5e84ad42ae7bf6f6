"""Items as chat completion messages, byte-stable: the same items give the same bytes.

So a turn's messages are a prefix of the next turn's, unless items were edited between them, and a model server that
caches by prefix reads only what is new. What becomes of each type of item is listed in docs/compatibility.md.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import TypeAlias, TypeVar

import orjson

from llama_conversations.errors import InvalidParameter
from llama_conversations.services.responses.chat_parts import (
    MESSAGES,
    Answer,
    Call,
    Named,
    Speech,
    Utterance,
    plain_name,
    utterances,
)
from llama_conversations.wire.events import JsonObject
from llama_conversations.wire.items import Compaction, ToldItem

MAX_CALL_ID = 40
"""Characters of a tool call's id that OpenAI's chat completions take. Undocumented, but live they answer with a 400:
"Invalid 'messages[36].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got a string
with length 51 instead" (reported at vercel/ai#8132, microsoft/autogen#6377, Portkey-AI/gateway#1062)."""

AnyItem = TypeVar("AnyItem", bound=ToldItem)

Unseal: TypeAlias = Callable[[str], str | None]
"""From ``encrypted_content`` to the text that this server sealed; ``None`` for what it did not."""


def chat_messages(
    preamble: Sequence[Utterance], items: Sequence[ToldItem], unseal: Unseal, named: Named = plain_name
) -> list[bytes]:
    """The messages that the model is given, each as JSON: what stands before the conversation, then its items.

    A tool's output stands right behind the message that calls it, wherever it stands among the items: model servers
    demand that. Of what stands before a compaction, only its summary and the user's messages right before it count.

    Errors: ``InvalidParameter`` for a call without output or an output without call, ``UnsupportedParameter`` for
    content that chat completions cannot carry.
    """
    spoken = [*preamble, *utterances(after_compaction(items), unseal, named)]
    return [orjson.dumps(message) for message in _Conversion(spoken).messages()]


def after_compaction(items: Sequence[AnyItem]) -> Sequence[AnyItem]:
    """The items that still count: the last compaction, the user's messages right before it, and what follows."""
    at = next((n for n in range(len(items) - 1, -1, -1) if isinstance(items[n], Compaction)), None)
    if at is None:
        return items
    first = at
    while first > 0 and is_users(items[first - 1]):
        first -= 1
    return [items[at], *items[first:at], *items[at + 1 :]]


def is_users(item: ToldItem) -> bool:
    """Whether an item is a user's message."""
    return isinstance(item, MESSAGES) and item.role == "user"


class _Conversion:
    """One pass over what was said; calls are gathered until somebody speaks, so parallel calls share one message.

    A call that comes after an answer was made in a later turn: it begins a message of its own.
    """

    def __init__(self, spoken: Sequence[Utterance]) -> None:
        self._spoken = spoken
        self._answers = _answers_by_call(spoken)
        self._called = {utterance.call_id for utterance in spoken if isinstance(utterance, Call)}
        self._pending: JsonObject | None = None
        self._calls: list[Call] = []
        self._answered = False

    def messages(self) -> Iterator[JsonObject]:
        for utterance in self._spoken:
            if isinstance(utterance, Speech):
                yield from self._flush()
                message: JsonObject = {"role": utterance.role, "content": utterance.content}
                if utterance.role == "assistant":
                    self._pending = message
                else:
                    yield message
            elif isinstance(utterance, Call):
                if self._answered:
                    yield from self._flush()
                self._calls.append(utterance)
            else:
                self._answered = bool(self._calls)
        yield from self._flush()
        for call_id, left in self._answers.items():
            if left and call_id in self._called:
                raise _unpaired(f"The tool call with call_id {call_id} has an output already.")
            if left:
                raise _unpaired(f"No tool call found for function call output with call_id {call_id}.")

    def _flush(self) -> Iterator[JsonObject]:
        """The assistant's message that is pending, with the calls behind it and their answers."""
        if not self._calls:
            if self._pending is not None:
                yield self._pending
        else:
            message = self._pending or {"role": "assistant", "content": None}
            yield message | {"tool_calls": [_tool_call(call) for call in self._calls]}
            yield from self._answers_of(self._calls)
        self._pending, self._calls, self._answered = None, [], False

    def _answers_of(self, calls: Sequence[Call]) -> Iterator[JsonObject]:
        """A tool message for each call; images follow as a user's, since tool messages carry text only."""
        images: list[JsonObject] = []
        for call in calls:
            answers = self._answers[call.call_id]
            if not answers:
                raise _unpaired(f"No tool output found for function call {call.call_id}.")
            answer = answers.popleft()
            yield {"role": "tool", "tool_call_id": _told_id(call.call_id), "content": answer.text}
            images.extend(answer.images)
        if images:
            yield {"role": "user", "content": [*images]}


def _answers_by_call(spoken: Sequence[Utterance]) -> defaultdict[str, deque[Answer]]:
    """Answers by their call's id, oldest first: some models give the same id to calls of different turns."""
    answers: defaultdict[str, deque[Answer]] = defaultdict(deque)
    for utterance in spoken:
        if isinstance(utterance, Answer):
            answers[utterance.call_id].append(utterance)
    return answers


def _tool_call(call: Call) -> JsonObject:
    return {
        "id": _told_id(call.call_id),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _told_id(call_id: str) -> str:
    """A call's id as model servers take it: ids of items that are told as calls are longer."""
    return call_id if len(call_id) <= MAX_CALL_ID else f"call_{sha256(call_id.encode()).hexdigest()[:24]}"


def _unpaired(message: str) -> InvalidParameter:
    return InvalidParameter(message, param="input", code=None)
