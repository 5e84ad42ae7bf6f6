"""What must hold between the clients' logs and what is there in the end, whatever was killed in between."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from durability.observed import Observed
from durability.operations import JOBS, JsonObject, Operation, Outcome
from harness.background import ENDED

_WRITTEN = re.compile(r"^(?:seen=(?P<seen>\d+) last=)?(?P<marker>[\w-]+)\.(?P<part>\d+)\b")
_SAID = -1
"""The part of a turn that the model said."""

SHARED = "shared"
"""Markers of conversations that several clients use begin with it."""

Part = tuple[str, int]
"""An item of an operation: its marker, and the number of the text; ``_SAID`` for the model's."""


class Fate(Enum):
    """Whether what an operation writes must be there."""

    THERE = auto()
    ABSENT = auto()
    EITHER = auto()


@dataclass(frozen=True)
class Violation:
    """A rule that does not hold, and where."""

    rule: str
    where: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}"


@dataclass(frozen=True)
class Placed:
    """An item in its place in a conversation."""

    place: int
    part: int
    item: JsonObject
    seen: int | None


def check(log: Sequence[Operation], seen: Observed) -> list[Violation]:
    """Everything that is wrong."""
    return [*Checker(log, seen).violations()]


class Checker:
    """Logs and what was observed, with what both say about each other."""

    def __init__(self, log: Sequence[Operation], seen: Observed) -> None:
        self._log, self._seen = log, seen
        self._by_marker = {operation.marker: operation for operation in log}
        self._deletes = {op.target: op for op in log if op.kind == "delete item" and op.target is not None}
        self._ids = _ids_of_parts(log, seen)
        self._deleted_items_of = Counter(op.conversation for op in self._deletes.values())
        self._gone = {
            op.conversation
            for op in log
            if op.kind == "delete conversation"
            and op.outcome is not Outcome.REFUSED
            and op.conversation not in seen.conversations
        }
        self._shared = {op.conversation for op in log if op.kind == "create" and op.marker.startswith(SHARED)}
        self._placed: dict[str, dict[str, list[Placed]]] = {}

    def violations(self) -> Iterator[Violation]:
        """All of them."""
        yield from (Violation("answers agree", fault) for fault in self._seen.faults)
        for operation in self._log:
            yield from (Violation("answers are what they claim to be", f"{operation}: {f}") for f in operation.faults)
        yield from self._creations()
        for conversation_id, items in self._seen.items.items():
            yield from self._place(conversation_id, items)
            yield from self._order(conversation_id)
            yield from self._metadata(conversation_id)
        for operation in self._log:
            yield from self._written(operation)
            yield from self._unlocked(operation)
        yield from self._deleted_items()
        yield from self._deleted_conversations()
        yield from self._responses()
        yield from self._looks()
        yield from self._probes()

    def _creations(self) -> Iterator[Violation]:
        """A conversation for each create that was acknowledged, none for one that was refused, never two."""
        made: dict[str, list[str]] = defaultdict(list)
        for conversation_id, conversation in self._seen.conversations.items():
            made[conversation["metadata"].get("op", "nobody")].append(conversation_id)
        for operation in self._log:
            found = made.pop(operation.marker, [])
            if operation.kind != "create" or operation.conversation in self._gone:
                continue
            if len(found) > 1 or (found and operation.outcome is Outcome.REFUSED):
                yield Violation("a create has one effect", f"{operation} made {found}")
            if operation.done and found != [operation.conversation]:
                yield Violation("what was acknowledged is there", f"{operation}: {found}")
        yield from (Violation("nothing comes from nowhere", f"{ids} of {marker}") for marker, ids in made.items())

    def _place(self, conversation_id: str, items: Sequence[JsonObject]) -> Iterator[Violation]:
        """Tell each item's operation; there is none that nobody wrote here."""
        placed = self._placed.setdefault(conversation_id, defaultdict(list))
        for place, item in enumerate(items):
            found = _WRITTEN.match(item["content"][0]["text"])
            operation = self._by_marker.get(found["marker"]) if found else None
            if found is None or operation is None:
                yield Violation("nothing comes from nowhere", f"{conversation_id}: {item}")
                continue
            at = operation.conversation or self._made_by(conversation_id)
            if at not in (conversation_id, operation.marker):
                yield Violation("nothing strays", f"{conversation_id}: {item}")
            seen = None if found["seen"] is None else int(found["seen"])
            part = _SAID if seen is not None else int(found["part"])
            placed[operation.marker].append(Placed(place, part, item, seen))

    def _made_by(self, conversation_id: str) -> str:
        marker: str = self._seen.conversations[conversation_id]["metadata"].get("op", "nobody")
        return marker

    def _order(self, conversation_id: str) -> Iterator[Violation]:
        """What was acknowledged before something else began stands before it; a turn was given what stood before it."""
        latest, first = -1.0, ""
        written = [(placed[0].place, marker, placed) for marker, placed in self._placed[conversation_id].items()]
        for _, marker, placed in sorted(written, key=lambda one: one[0]):
            operation = self._by_marker[marker]
            if operation.ended < latest:
                yield Violation("the order is kept", f"{conversation_id}: {marker} stands behind {first}")
            if operation.began > latest:
                latest, first = operation.began, marker
            yield from self._given(conversation_id, operation, placed)

    def _given(self, conversation_id: str, operation: Operation, placed: Sequence[Placed]) -> Iterator[Violation]:
        """A turn's model was given every item that had been acknowledged, and none that came later."""
        said = [one for one in placed if one.seen is not None]
        if not said or said[0].seen is None:
            return
        items = [one for each in self._placed[conversation_id].values() for one in each]
        before = [one for one in items if one.place < placed[0].place]
        acknowledged = [
            one
            for marker, each in self._placed[conversation_id].items()
            for one in each
            if self._by_marker[marker].ended < operation.began
        ]
        deleted = self._deleted_items_of[conversation_id]
        if not len(acknowledged) <= said[0].seen - 1 <= len(before) + deleted:
            yield Violation(
                "a turn is given the whole conversation",
                f"{conversation_id}: {operation.marker} was given {said[0].seen - 1} items, "
                f"of {len(acknowledged)} to {len(before) + deleted}",
            )

    def _metadata(self, conversation_id: str) -> Iterator[Violation]:
        """The last update that was acknowledged, or one that may have come after it."""
        updates = [op for op in self._log if op.kind == "update" and op.conversation == conversation_id]
        began = max((op.began for op in updates if op.done), default=-1.0)
        value = self._seen.conversations[conversation_id]["metadata"].get("v")
        possible = {op.marker for op in updates if op.ended > began and op.outcome is not Outcome.REFUSED}
        if value not in possible and (value is not None or began >= 0):
            yield Violation("the last update holds", f"{conversation_id}: {value}, not one of {sorted(possible)}")

    def _fate(self, operation: Operation) -> Fate:
        if operation.outcome is not Outcome.DONE or operation.answer is None:
            return Fate.ABSENT if operation.outcome is Outcome.REFUSED else Fate.EITHER
        if operation.is_turn:
            status = operation.answer["status"]
            if status not in ENDED:
                return Fate.EITHER
            return Fate.THERE if status in ("completed", "incomplete") else Fate.ABSENT
        return Fate.THERE

    def _written(self, operation: Operation) -> Iterator[Violation]:
        """What an operation wrote is there once, whole and together, or not at all."""
        if operation.kind not in ("create", "append") and not operation.is_turn:
            return
        where = operation.conversation or self._found_conversation(operation)
        if where is None or where in self._gone:
            return
        if where not in self._seen.items:
            yield Violation("what was acknowledged is there", f"{operation}: its conversation is gone")
            return
        placed = self._placed[where].get(operation.marker, [])
        expected = [*range(len(operation.texts)), *([_SAID] if operation.is_turn else [])]
        yield from self._whole(operation, placed, expected)
        yield from _shown(operation, placed)

    def _found_conversation(self, operation: Operation) -> str | None:
        """The conversation of a create whose answer never came."""
        return next((one for one in self._seen.conversations if self._made_by(one) == operation.marker), None)

    def _whole(self, operation: Operation, placed: Sequence[Placed], expected: Sequence[int]) -> Iterator[Violation]:
        parts, fate = [one.part for one in placed], self._fate(operation)
        possible = [part for part in expected if not self._deleted(operation.marker, part, surely=True)]
        certain = [part for part in expected if not self._deleted(operation.marker, part, surely=False)]
        if not parts:
            if certain and fate is Fate.THERE:
                yield Violation("what was acknowledged is there", str(operation))
            return
        if fate is Fate.ABSENT:
            yield Violation("what was refused is not there", f"{operation}: {parts}")
        if len(set(parts)) != len(parts):
            yield Violation("nothing is there twice", f"{operation}: {parts}")
        if not set(certain) <= set(parts) <= set(possible):
            yield Violation("nothing is there by half", f"{operation}: {parts} of {certain}")
        places = [one.place for one in placed]
        if parts != sorted(parts, key=expected.index) or places != list(range(places[0], places[0] + len(places))):
            yield Violation("a batch is in order and unbroken", f"{operation}: {parts} at {places}")

    def _deleted(self, marker: str, part: int, *, surely: bool) -> bool:
        """Whether an item was deleted; if not ``surely``, whether it may have been."""
        deletion = self._deletes.get(self._ids.get((marker, part), ""))
        if deletion is None:
            return False
        return deletion.done if surely else deletion.outcome is not Outcome.REFUSED

    def _unlocked(self, operation: Operation) -> Iterator[Violation]:
        """Nothing is refused for longer than a client's patience."""
        told = operation.statuses[-1] if operation.statuses else ""
        if operation.outcome is Outcome.REFUSED and "locked" in told and operation.conversation not in self._shared:
            yield Violation("no conversation stays locked", f"{operation}")

    def _deleted_items(self) -> Iterator[Violation]:
        there = {item["id"] for items in self._seen.items.values() for item in items}
        for item_id, deletion in self._deletes.items():
            if deletion.done and item_id in there:
                yield Violation("what was deleted is gone", str(deletion))

    def _deleted_conversations(self) -> Iterator[Violation]:
        for operation in self._log:
            there = operation.conversation in self._seen.conversations
            if operation.kind == "delete conversation" and operation.done and there:
                yield Violation("what was deleted is gone", str(operation))

    def _responses(self) -> Iterator[Violation]:
        """Each response belongs to one turn, is as it was shown, and its items are in its conversation or it failed."""
        by_marker: dict[str, list[JsonObject]] = defaultdict(list)
        for response in self._seen.responses.values():
            by_marker[response["metadata"].get("op", "nobody")].append(response)
        for operation in self._log:
            if operation.is_turn:
                yield from self._responses_of(operation, by_marker.pop(operation.marker, []))
        yield from (Violation("nothing comes from nowhere", f"{found}") for found in by_marker.values())

    def _responses_of(self, operation: Operation, found: Sequence[JsonObject]) -> Iterator[Violation]:
        stored, answer = operation.kind != "unstored turn", operation.answer
        kept = [response for response in found if response["status"] in ("completed", "incomplete")]
        ids = {response["id"] for response in found}
        if len(kept) > 1 or len(found) > operation.attempts or (found and not stored):
            yield Violation("a turn has one response", f"{operation}: {[(r['id'], r['status']) for r in found]}")
        if stored and operation.shown is not None and operation.shown not in ids:
            yield Violation("a response that was shown is there", str(operation))
        if stored and operation.done and answer is not None:
            final = answer["status"] in ENDED
            if self._seen.responses.get(answer["id"]) != answer and (final or answer["id"] not in ids):
                there = self._seen.responses.get(answer["id"])
                yield Violation("a response is what was shown", f"{operation}: {there}")
        yield from self._in_conversation(operation, kept, stored=stored)

    def _in_conversation(
        self, operation: Operation, kept: Sequence[JsonObject], *, stored: bool
    ) -> Iterator[Violation]:
        where = operation.conversation
        if where is None or where not in self._seen.items or not stored:
            return
        placed = self._placed[where].get(operation.marker, [])
        if not kept and placed:
            yield Violation("a turn that failed adds nothing", f"{operation}: {[one.item for one in placed]}")
        for response in kept:
            said = [one.item for one in placed if one.part == _SAID]
            if said != response["output"] and not self._deleted(operation.marker, _SAID, surely=False):
                yield Violation("a turn's output is in its conversation", f"{operation}: {said}")

    def _looks(self) -> Iterator[Violation]:
        """What was read is the beginning of what is there now, but for what was deleted; nothing read is lost."""
        for operation in self._log:
            if operation.kind == "look" and operation.answer is not None and operation.conversation in self._seen.items:
                yield from self._look(operation, operation.conversation, operation.answer["data"])

    def _look(self, operation: Operation, where: str, read: Sequence[JsonObject]) -> Iterator[Violation]:
        now = [item["id"] for item in self._seen.items[where]]
        kept = [item["id"] for item in read if item["id"] in set(now)]
        lost = {item["id"] for item in read} - set(now) - set(self._deletes)
        if lost or now[: len(kept)] != kept:
            yield Violation("what was read stays", f"{operation.marker} in {where}: lost {sorted(lost)}")
        before = [
            one.item["id"]
            for marker, each in self._placed[where].items()
            for one in each
            if self._by_marker[marker].ended < operation.began
        ]
        if missing := set(before) - set(kept):
            yield Violation("what was acknowledged is read", f"{operation.marker} in {where}: {sorted(missing)}")

    def _probes(self) -> Iterator[Violation]:
        """In the end every conversation takes a turn, which is given all its items."""
        for conversation_id, items in self._seen.items.items():
            given = self._seen.probes.get(conversation_id)
            if given is not None and given != len(items):
                yield Violation("a turn is given the whole conversation", f"{conversation_id}: {given} of {len(items)}")


def _ids_of_parts(log: Iterable[Operation], seen: Observed) -> Mapping[Part, str]:
    """The ids of items that clients were told."""
    ids: dict[Part, str] = {}
    for operation in log:
        if operation.answer is None:
            continue
        if operation.kind == "append":
            ids |= {(operation.marker, n): item["id"] for n, item in enumerate(operation.answer["data"])}
        elif operation.is_turn and operation.answer["output"]:
            ids[operation.marker, _SAID] = operation.answer["output"][0]["id"]
    return ids


def _shown(operation: Operation, placed: Sequence[Placed]) -> Iterator[Violation]:
    """What an answer showed is what is there, to the letter."""
    answer = operation.answer
    if answer is None or not operation.done:
        return
    shown: Sequence[JsonObject] = answer.get("data", answer.get("output", ()))
    by_id = {item["id"]: item for item in shown}
    for one in placed:
        if one.item["id"] in by_id and by_id[one.item["id"]] != one.item:
            yield Violation("an item is what was shown", f"{operation}: {one.item}")
        if operation.kind == "append" and one.item["id"] not in by_id:
            yield Violation("an item is what was shown", f"{operation}: {one.item}")
        if operation.kind not in JOBS and one.part == _SAID and one.item["id"] not in by_id:
            yield Violation("an item is what was shown", f"{operation}: {one.item}")
