"""A model's calls one after the other, however their pieces come.

Clients of the hosted API are shown one item at a time. Model servers may send the pieces of parallel calls in turns,
and text between them; so what does not belong to the call that is open waits until that is whole, or the model stops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic_core import from_json

from llama_conversations.errors import UpstreamGarbled
from llama_conversations.services.responses.chat_deltas import Delta, Finished, ToolCallDelta
from llama_conversations.wire.responses import Usage

__all__ = ["CallOrder", "is_whole"]


def is_whole(arguments: str) -> bool:
    """Whether arguments are a complete JSON object: then nothing more can come but blanks."""
    if not arguments.rstrip().endswith("}"):  # spares most of the parsing
        return False
    try:
        return isinstance(from_json(arguments), dict)
    except ValueError:
        return False


@dataclass(slots=True)
class _Call:
    """A call that has been let through, as far as it has come."""

    index: int
    call_id: str | None
    name: str
    pieces: list[str]

    @property
    def is_whole(self) -> bool:
        return is_whole("".join(self.pieces))

    def goes_on_with(self, piece: ToolCallDelta) -> bool:
        """Whether a piece of the same index is more of this call: some servers give every call the index 0.

        Others repeat a call's id and name in every piece, or tell them late, before any arguments.
        """
        if piece.name is None:
            return True
        if self.call_id is not None:
            return piece.call_id in (None, self.call_id)
        if piece.name != self.name or (piece.call_id is not None and self.pieces):
            return False
        return not (piece.arguments.strip() and self.is_whole)


class CallOrder:
    """Puts one answer's deltas into an order in which each call is together.

    A call's first piece tells its name; the further ones, which follow without anything between them, do not.
    """

    def __init__(self, provider_id: str) -> None:
        self._provider_id = provider_id
        self._open: _Call | None = None
        self._over: dict[int, _Call] = {}
        self._unnamed: dict[int, ToolCallDelta] = {}
        self._waiting: list[Delta] = []

    def add(self, delta: Delta) -> Iterable[Delta]:
        """What may be shown now that this delta has come. Errors: ``UpstreamGarbled``."""
        if self._open is None and not isinstance(delta, ToolCallDelta):
            return (delta,)  # so it is for nearly all
        return self._take(deque([delta]))

    def close(self, *, cut_off: bool) -> Iterator[Delta]:
        """The model has stopped: what waited. Errors: ``UpstreamGarbled`` for a call without a name, if not cut off."""
        while self._open is not None:
            yield from self._take(self._end(self._open))
        if not cut_off and any(piece.call_id or piece.arguments for piece in self._unnamed.values()):
            raise UpstreamGarbled(self._provider_id, "The model server's answer has a tool call without a name.")

    def _take(self, deltas: deque[Delta]) -> Iterator[Delta]:
        while deltas:
            delta, call = deltas.popleft(), self._open
            if isinstance(delta, Finished | Usage):
                yield delta
            elif call is None:
                yield from self._begin(delta)
            elif isinstance(delta, ToolCallDelta) and delta.index == call.index and call.goes_on_with(delta):
                yield from _more(call, delta)
                if self._waiting and call.is_whole:
                    deltas.extendleft(reversed(self._end(call)))
            elif call.is_whole or (isinstance(delta, ToolCallDelta) and delta.index == call.index):
                deltas.extendleft(reversed([*self._end(call), delta]))
            else:
                self._waiting.append(delta)

    def _end(self, call: _Call) -> deque[Delta]:
        """The open call is over; what has waited for that."""
        self._over[call.index], self._open = call, None
        waited, self._waiting = deque(self._waiting), []
        return waited

    def _begin(self, delta: Delta) -> Iterator[Delta]:
        """Something else than more of an open call. What comes late for one that was whole can only be blank."""
        if not isinstance(delta, ToolCallDelta):
            yield delta
            return
        over = self._over.get(delta.index)
        if over is not None and over.goes_on_with(delta):
            if delta.arguments.strip():
                message = "The model server's answer has a tool call with more than a JSON object for its arguments."
                raise UpstreamGarbled(self._provider_id, message)
            return
        first = _joined(self._unnamed.pop(delta.index, None), delta)
        if first.name is None:
            self._unnamed[delta.index] = first
        else:
            self._open = _Call(first.index, first.call_id, first.name, [first.arguments] if first.arguments else [])
            yield first


def _more(call: _Call, delta: ToolCallDelta) -> Iterator[ToolCallDelta]:
    if delta.arguments:
        call.pieces.append(delta.arguments)
        yield ToolCallDelta(delta.index, None, None, delta.arguments)


def _joined(before: ToolCallDelta | None, delta: ToolCallDelta) -> ToolCallDelta:
    """Two deltas of a call that is not shown yet."""
    if before is None:
        return delta
    return ToolCallDelta(
        index=delta.index,
        call_id=before.call_id or delta.call_id,
        name=before.name or delta.name,
        arguments=before.arguments + delta.arguments,
    )
