"""What a client did: its own log, from which alone is told what the server must hold."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

JsonObject = dict[str, Any]

Kind = Literal[
    "create", "append", "update", "delete item", "delete conversation",
    "turn", "streamed turn", "unstored turn", "chained turn", "failing turn",
    "job", "streamed job", "cancelled job", "look",
]  # fmt: skip

TURNS = frozenset(
    {"turn", "streamed turn", "unstored turn", "chained turn", "failing turn", "job", "streamed job", "cancelled job"}
)
JOBS = frozenset({"job", "streamed job", "cancelled job"})


class Outcome(StrEnum):
    """What the client knows of its operation."""

    DONE = "acknowledged"
    REFUSED = "refused"
    """It was told that nothing was stored, or nothing was sent."""
    UNKNOWN = "unknown"
    """The connection broke, or the answer says that nobody knows."""


@dataclass
class Operation:
    """One operation; times are of one clock for all clients, in seconds.

    Attributes:
        marker: Unique; stands in every text that the operation writes, and in the metadata of what it makes.
        conversation: The id of the conversation that it is about; of a create, once that is known.
        texts: Of the items that it gives, in order.
        ended: When it was acknowledged; never, for any other outcome.
        answer: Of a done one: the object, or of a look the items, oldest first.
        shown: The id of the response that a stream began with.
        target: The id of the item to be deleted, or of the response that is continued.
        faults: What was wrong with an answer as such.
    """

    marker: str
    kind: Kind
    conversation: str | None = None
    texts: tuple[str, ...] = ()
    keyed: bool = False
    target: str | None = None
    began: float = 0.0
    ended: float = math.inf
    outcome: Outcome = Outcome.REFUSED
    attempts: int = 0
    statuses: list[str] = field(default_factory=list)
    answer: JsonObject | None = None
    shown: str | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether it was acknowledged."""
        return self.outcome is Outcome.DONE

    @property
    def is_turn(self) -> bool:
        """Whether a model was to answer."""
        return self.kind in TURNS


def write_logs(operations: Iterable[Operation], path: Path) -> None:
    """Write a log as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as lines:
        for operation in operations:
            fields = {name: None if value == math.inf else value for name, value in asdict(operation).items()}
            lines.write(json.dumps(fields) + "\n")
