"""A history that is too long for the model, made shorter by leaving out its oldest exchanges.

The hosted API does so with ``truncation: "auto"`` (OpenAI API reference: items are dropped "from the beginning of the
conversation"). What is left has to be a history that model servers take: whole exchanges, no call without its output.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from llama_conversations.wire.items import (
    AdditionalTools,
    ApplyPatchCall,
    ApplyPatchCallOutput,
    Compaction,
    ComputerCall,
    ComputerCallOutput,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    LocalShellCall,
    LocalShellCallOutput,
    McpApprovalRequest,
    McpApprovalResponse,
    McpCall,
    Message,
    Program,
    ProgramOutput,
    ShellCall,
    ShellCallOutput,
    ToolSearchCall,
    ToolSearchOutput,
)

__all__ = ["drop_oldest"]


def drop_oldest(items: Sequence[Item], excess_tokens: int, cost: Callable[[Item], int]) -> Sequence[Item]:
    """The items without the oldest exchanges, as few of them as save ``excess_tokens``.

    An exchange is a user's message and everything up to the next one; what stands before the first is one as well.
    Instructions (messages of the system and the developer, added tools) and summaries stay wherever they stand, and the
    last exchange stays whole. Exchanges that a call and its output tie together go together or not at all.

    Args:
        cost: What an item costs in tokens; asked once for each item that is dropped.

    Returns:
        What is left, in its order. It may save less than asked: the caller sees whether it is enough.
    """
    exchanges = _exchanges(items)
    dropped: set[int] = set()
    left = excess_tokens
    for group in _tied(items, exchanges):
        if left <= 0:
            break
        if group[-1] != len(exchanges) - 1:
            positions = [position for number in group for position in exchanges[number]]
            left -= sum(cost(items[position]) for position in positions)
            dropped.update(positions)
    return [item for position, item in enumerate(items) if position not in dropped] if dropped else items


def _exchanges(items: Sequence[Item]) -> Sequence[Sequence[int]]:
    """The positions of each exchange's items, without what stays."""
    exchanges: list[list[int]] = [[]]
    for position, item in enumerate(items):
        if isinstance(item, Message) and item.role == "user":
            exchanges.append([])
        if not _stays(item):
            exchanges[-1].append(position)
    return exchanges if exchanges[0] else exchanges[1:]


def _stays(item: Item) -> bool:
    return isinstance(item, AdditionalTools | Compaction) or (
        isinstance(item, Message) and item.role in ("system", "developer")
    )


def _tied(items: Sequence[Item], exchanges: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    """The exchanges that go together, in order; such groups in the order of their oldest."""
    exchange_of = {position: number for number, positions in enumerate(exchanges) for position in positions}
    older = list(range(len(exchanges)))  # a forest: each points to an older one of its group, the oldest to itself
    for call, output in _pairs(items):
        one, other = _oldest(older, exchange_of[call]), _oldest(older, exchange_of[output])
        older[max(one, other)] = min(one, other)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for number in range(len(exchanges)):
        groups[_oldest(older, number)].append(number)
    return list(groups.values())


def _oldest(older: list[int], number: int) -> int:
    while older[number] != number:
        older[number] = older[older[number]]
        number = older[number]
    return number


@dataclass(slots=True)
class _Ends:
    calls: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)


def _pairs(items: Sequence[Item]) -> Iterator[tuple[int, int]]:
    """The positions of every call and its output; the n-th output of an id is that of its n-th call.

    Some models give the same id to calls of different turns. Outputs beyond the calls belong to the last call.
    """
    ends: defaultdict[tuple[str, str], _Ends] = defaultdict(_Ends)
    for position, item in enumerate(items):
        for call in _calls(item):
            ends[call].calls.append(position)
        for output in _outputs(item):
            ends[output].outputs.append(position)
    for pair in ends.values():
        if pair.calls:
            for n, output_position in enumerate(pair.outputs):
                yield pair.calls[min(n, len(pair.calls) - 1)], output_position


def _calls(item: Item) -> Iterator[tuple[str, str]]:
    """What an item calls, as the kind of the call and its id."""
    match item:
        case FunctionCall() | CustomToolCall() | ComputerCall() | ShellCall() | ApplyPatchCall() | Program():
            yield item.type, item.call_id
        case LocalShellCall():  # see its output
            yield from ((item.type, name) for name in {item.call_id, item.id})
        case ToolSearchCall() if item.call_id is not None:
            yield item.type, item.call_id
        case McpApprovalRequest():
            yield item.type, item.id
        case _:
            pass


def _outputs(item: Item) -> Iterator[tuple[str, str]]:
    """What an item answers, as ``_calls`` tells it."""
    match item:
        case (
            FunctionCallOutput()
            | CustomToolCallOutput()
            | ComputerCallOutput()
            | ShellCallOutput()
            | ApplyPatchCallOutput()
            | ProgramOutput()
        ):
            yield item.type.removesuffix("_output"), item.call_id
        case LocalShellCallOutput():  # documented as having the call's id for its own; sent with a call_id beside it
            names = {item.id, (item.model_extra or {}).get("call_id")}
            yield from (("local_shell_call", name) for name in names if isinstance(name, str))
        case ToolSearchOutput() if item.call_id is not None:
            yield "tool_search_call", item.call_id
        case McpApprovalResponse():
            yield "mcp_approval_request", item.approval_request_id
        case McpCall() if item.approval_request_id is not None:
            yield "mcp_approval_request", item.approval_request_id
        case _:
            pass
