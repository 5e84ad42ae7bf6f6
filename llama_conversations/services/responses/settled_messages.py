"""The beginning of a history as chat completion messages that stay the same whatever follows.

A long conversation is told to its model anew in every turn. What was settled in an earlier turn need not be made again:
it is kept as the bytes that are sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llama_conversations.services.responses.chat_messages import Unseal, after_compaction, chat_messages
from llama_conversations.services.responses.chat_parts import (
    MESSAGES,
    Answer,
    Call,
    Named,
    ServerRun,
    call_ids,
    utterances,
)
from llama_conversations.wire.items import (
    Compaction,
    Item,
    McpApprovalRequest,
    McpApprovalResponse,
    ToldItem,
    WebSearchCall,
    modelled,
)

__all__ = ["NOTHING_SETTLED", "SettledMessages", "settle"]


@dataclass(frozen=True, slots=True)
class SettledMessages:
    """Messages of a history's first items.

    Attributes:
        items: How many items they tell.
        text: The messages as JSON, with commas between them.
        call_ids: Of the calls that these items make.
        names: One call of each tool that is told by a name that depends on what the turn offers, and that name.
    """

    items: int
    text: bytes
    call_ids: frozenset[str]
    names: Sequence[tuple[ServerRun, str]] = ()

    def fits(self, named: Named) -> bool:
        """Whether the tools have the same names in another turn."""
        return all(named(item) == name for item, name in self.names)


NOTHING_SETTLED = SettledMessages(0, b"", frozenset())


def settle(before: SettledMessages, behind: Sequence[ToldItem], unseal: Unseal, named: Named) -> SettledMessages:
    """More of a history settled: as much as can be of the items behind what is settled already.

    Where a compaction is among these, ``before`` must be ``NOTHING_SETTLED``: it makes a new beginning of the whole.

    Errors: as of ``chat_messages``.
    """
    counting = after_compaction(behind)
    end = _settled(counting)
    if end == 0:
        return before
    texts = [before.text] if before.text else []
    texts += chat_messages((), counting[:end], unseal, named)
    told = behind[: len(behind) - len(counting) + end]
    return SettledMessages(
        items=before.items + len(told),
        text=b",".join(texts),
        call_ids=before.call_ids | call_ids(told),
        names=[*before.names, *_new_names(before, told, named)],
    )


def _new_names(before: SettledMessages, told: Sequence[ToldItem], named: Named) -> Iterator[tuple[ServerRun, str]]:
    """The names by which calls are told, each tool's once."""
    known = {_tool(item) for item, _ in before.names}
    for item in modelled(told):
        if isinstance(item, ServerRun) and _tool(item) not in known:
            known.add(_tool(item))
            yield item, named(item)


def _tool(item: ServerRun) -> tuple[str, str]:
    return ("", "") if isinstance(item, WebSearchCall) else (item.server_label, item.name)


def _settled(items: Sequence[ToldItem]) -> int:
    """How many of the items are told the same way whatever follows.

    The end of that lies behind a message that is not the assistant's (to his, calls may be added), where every call has
    its output and every request for leave its answer. Where a summary stands first, there has to be a user's message:
    without any, it is told as one.
    """
    end, waiting = 0, Counter[str]()
    has_asker = not (items and isinstance(items[0], Compaction))
    for place, item in enumerate(items, 1):
        if isinstance(item, MESSAGES):
            has_asker = has_asker or item.role == "user"
            if has_asker and waiting.total() == 0 and item.role != "assistant":
                end = place
        elif not _follow(item, waiting):
            break
    return end


def _follow(item: Item, waiting: Counter[str]) -> bool:
    """Take note of what waits for an answer; false where something answers what was not asked, or not yet."""
    if isinstance(item, McpApprovalRequest):
        waiting[item.id] += 1
        return True
    if isinstance(item, McpApprovalResponse):
        return _answered(item.approval_request_id, waiting)
    for utterance in utterances((item,), lambda _: None):
        if isinstance(utterance, Call):
            waiting[utterance.call_id] += 1
        elif isinstance(utterance, Answer) and not _answered(utterance.call_id, waiting):
            return False
    return True


def _answered(call_id: str, waiting: Counter[str]) -> bool:
    waiting[call_id] -= 1
    return waiting[call_id] >= 0
