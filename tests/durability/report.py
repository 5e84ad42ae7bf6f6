"""What came of a round, and of many: figures for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from durability.checks import Violation
from durability.operations import Operation, Outcome


@dataclass(frozen=True)
class Report:
    """What came of a round.

    Attributes:
        disturbances: How often each thing was done to the processes; ``kills`` are those that ended one.
    """

    seed: int
    seconds: float
    log: Sequence[Operation]
    disturbances: Counter[str]
    kills: int
    violations: Sequence[Violation]

    def line(self) -> str:
        """The round in a line."""
        outcomes = Counter(operation.outcome for operation in self.log)
        told = ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in Outcome)
        return (
            f"seed {self.seed}: {self.seconds:.0f} s, {self.kills} kills, {len(self.log)} operations ({told}), "
            f"{len(self.violations)} violations"
        )


@dataclass
class Totals:
    """Of all rounds."""

    rounds: int = 0
    kills: int = 0
    violations: int = 0
    disturbances: Counter[str] = field(default_factory=Counter)
    operations: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)

    def add(self, report: Report) -> None:
        """A round."""
        self.rounds += 1
        self.kills += report.kills
        self.disturbances += report.disturbances
        self.operations.update((operation.kind, operation.outcome) for operation in report.log)
        self.add_violations(report.violations)

    def add_violations(self, violations: Iterable[Violation]) -> None:
        """What does not hold."""
        self.rules.update(violation.rule for violation in violations)
        self.violations = self.rules.total()

    def table(self) -> str:
        """All of it, in Markdown."""
        kinds = sorted({kind for kind, _ in self.operations})
        rows = [[kind, *(str(self.operations[kind, outcome]) for outcome in Outcome)] for kind in kinds]
        sums = [str(sum(self.operations[kind, outcome] for kind in kinds)) for outcome in Outcome]
        disturbed = [[what, str(count)] for what, count in self.disturbances.most_common()]
        ends = [["kills in all", str(self.kills)], ["rounds", str(self.rounds)], ["violations", str(self.violations)]]
        broken = [[f"violated: {rule}", str(count)] for rule, count in self.rules.most_common()]
        return "\n\n".join(
            [
                _table(["operation", *Outcome], [*rows, ["all", *sums]]),
                _table(["done to the processes", "times"], [*disturbed, *ends, *broken]),
            ]
        )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
