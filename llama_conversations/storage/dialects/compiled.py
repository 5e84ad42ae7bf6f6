"""Statements as the text of one dialect, compiled at first use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter

from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import SQLCompiler

from llama_conversations.storage.unit_of_work import Parameters, SqlValue, Statement

_ROW = re.compile(r"(.*) VALUES \(([^()]*)\)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RowInsert:
    """An INSERT of one row whose values are all given, in pieces: of these, one of many rows is made.

    Attributes:
        head: What stands before ``VALUES``.
        values: The placeholders of the row.
        tail: What stands behind the row.
    """

    head: str
    values: Sequence[str]
    tail: str


@dataclass(frozen=True, slots=True)
class PositionalStatement:
    """A statement whose values are given by position.

    Attributes:
        names: Of the values, in the order in which they are given.
        literals: The values of those that SQLAlchemy took out of the statement.
        insert: The statement in pieces, if it inserts a row.
    """

    sql: str
    names: Sequence[str]
    literals: Parameters
    insert: RowInsert | None

    def values(self, parameters: Parameters) -> Sequence[SqlValue]:
        """The values in their order."""
        given = {**self.literals, **parameters} if self.literals else parameters
        return [given[name] for name in self.names]

    def all_values(self, rows: Sequence[Parameters]) -> Sequence[SqlValue]:
        """The values of many rows, one behind the other; for a statement all of whose values are given."""
        pick = itemgetter(*self.names)
        return list(chain.from_iterable(map(pick, rows))) if len(self.names) > 1 else list(map(pick, rows))


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
        sql, names = str(compiled), tuple(compiled.positiontup or ())
        return PositionalStatement(sql, names, literals, _row_insert(sql, names))


def _row_insert(sql: str, names: Sequence[str]) -> RowInsert | None:
    pieces = _ROW.fullmatch(sql)
    if pieces is None:
        return None
    head, row, tail = pieces.groups()
    values = row.split(", ")
    is_given = len(values) == len(names) and all(value[0] in "?$" for value in values)
    return RowInsert(head, values, tail) if is_given else None
