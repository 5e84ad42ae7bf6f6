"""Statements as the text of one dialect, compiled at first use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import SQLCompiler

from llama_conversations.storage.unit_of_work import Parameters, SqlValue, Statement


@dataclass(frozen=True, slots=True)
class PositionalStatement:
    """A statement whose values are given by position.

    Attributes:
        names: Of the values, in the order in which they are given.
        literals: The values of those that SQLAlchemy took out of the statement.
    """

    sql: str
    names: Sequence[str]
    literals: Parameters

    def values(self, parameters: Parameters) -> Sequence[SqlValue]:
        """The values in their order."""
        given = {**self.literals, **parameters} if self.literals else parameters
        return [given[name] for name in self.names]

    @property
    def inserts_a_row(self) -> bool:
        """Whether it is an INSERT of one row and nothing else, so that ``for_rows`` makes one of many."""
        return self.sql.endswith(f" VALUES {self._row}")

    def for_rows(self, rows: int) -> str:
        """The INSERT of so many rows, whose values follow one another."""
        return self.sql + f", {self._row}" * (rows - 1)

    @property
    def _row(self) -> str:
        return f"({', '.join('?' * len(self.names))})"


class PositionalStatements:
    """The statements of a dialect that numbers its parameters."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._compiled: dict[Statement, PositionalStatement] = {}

    def compiled(self, statement: Statement) -> PositionalStatement:
        """The statement in this dialect."""
        found = self._compiled.get(statement)
        if found is None:
            found = self._compiled[statement] = self._compile(statement)
        return found

    def _compile(self, statement: Statement) -> PositionalStatement:
        compiled = statement.clause.compile(dialect=self._dialect)
        assert isinstance(compiled, SQLCompiler)  # noqa: S101  (what a dialect makes of a clause that is no DDL)
        literals = {name: value for name, value in compiled.params.items() if value is not None}
        return PositionalStatement(str(compiled), tuple(compiled.positiontup or ()), literals)
