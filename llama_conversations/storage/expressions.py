"""SQL expressions that each dialect writes its own way.

The pieces that are put together here are SQL that SQLAlchemy wrote; values are bound, never pasted in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import orjson
from sqlalchemy import BigInteger, Boolean, ColumnElement, Insert, Table, Text
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.dialects.sqlite.dml import OnConflictDoNothing
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType


class now_ms(FunctionElement[int]):  # noqa: N801  (SQL functions are named as in SQL)
    """The database's own clock, in milliseconds since 1970: leases are judged by one clock."""

    type = BigInteger()
    inherit_cache = True


@compiles(now_ms, "sqlite")
def _sqlite_now(_element: now_ms, _compiler: SQLCompiler, **_options: object) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


@compiles(now_ms, "postgresql")
def _postgresql_now(_element: now_ms, _compiler: SQLCompiler, **_options: object) -> str:
    return "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint"


class _Condition(FunctionElement[bool]):
    """A condition that stands in WHERE as it is written."""

    type = Boolean()
    inherit_cache = True

    def self_group(self, against: OperatorType | None = None) -> Self:  # noqa: ARG002
        """As it is: SQLAlchemy would append ``= 1`` for SQLite, and no index serves ``id IN (…) = 1``."""
        return self


class json_contains(_Condition):  # noqa: N801
    """``json_contains(column, pairs)``: the JSON object in ``column`` has every pair of the JSON object ``pairs``."""

    inherit_cache = True


def _arguments(element: _Condition) -> tuple[ColumnElement[str], ColumnElement[str]]:
    column, pairs = element.clauses
    return column, pairs


@compiles(json_contains, "sqlite")
def _sqlite_json_contains(element: json_contains, compiler: SQLCompiler, **options: object) -> str:
    column, pairs = (compiler.process(argument, **options) for argument in _arguments(element))
    had = f"SELECT 1 FROM json_each({column}) AS had WHERE had.key = wanted.key AND had.atom = wanted.atom"  # noqa: S608
    return f"NOT EXISTS (SELECT 1 FROM json_each({pairs}) AS wanted WHERE NOT EXISTS ({had}))"  # noqa: S608


@compiles(json_contains, "postgresql")
def _postgresql_json_contains(element: json_contains, compiler: SQLCompiler, **options: object) -> str:
    # jsonb holds no U+0000: U+FFFF, no character either, stands for it. JSON stays JSON by that, also where the
    # "\\u0000" is but the end of a written backslash and some letters.
    column, pairs = (compiler.process(argument, **options) for argument in _arguments(element))
    return f"replace({column}, '\\u0000', '\\uffff')::jsonb @> replace({pairs}, '\\u0000', '\\uffff')::jsonb"


class in_json_array(_Condition):  # noqa: N801
    """``in_json_array(column, array)``: ``IN`` over the strings of a JSON array; one statement for any number."""

    inherit_cache = True


@compiles(in_json_array, "sqlite")
def _sqlite_in_json_array(element: in_json_array, compiler: SQLCompiler, **options: object) -> str:
    column, array = (compiler.process(argument, **options) for argument in _arguments(element))
    return f"{column} IN (SELECT value FROM json_each({array}))"  # noqa: S608


@compiles(in_json_array, "postgresql")
def _postgresql_in_json_array(element: in_json_array, compiler: SQLCompiler, **options: object) -> str:
    column, array = (compiler.process(argument, **options) for argument in _arguments(element))
    return f"{column} = ANY (ARRAY(SELECT jsonb_array_elements_text(({array})::jsonb)))"


class json_object_of(FunctionElement[str]):  # noqa: N801
    """``json_object_of(names, values)``: the rows of a query as one JSON object."""

    type = Text()
    inherit_cache = True


@compiles(json_object_of, "sqlite")
def _sqlite_json_object_of(element: json_object_of, compiler: SQLCompiler, **options: object) -> str:
    return f"json_group_object({compiler.process(element.clauses, **options)})"


@compiles(json_object_of, "postgresql")
def _postgresql_json_object_of(element: json_object_of, compiler: SQLCompiler, **options: object) -> str:
    return f"coalesce(json_object_agg({compiler.process(element.clauses, **options)})::text, '{{}}')"


class json_list(FunctionElement[str]):  # noqa: N801
    """``json_list(value, …)``: values as a JSON array."""

    type = Text()
    inherit_cache = True


@compiles(json_list, "sqlite")
def _sqlite_json_list(element: json_list, compiler: SQLCompiler, **options: object) -> str:
    return f"json_array({compiler.process(element.clauses, **options)})"


@compiles(json_list, "postgresql")
def _postgresql_json_list(element: json_list, compiler: SQLCompiler, **options: object) -> str:
    return f"json_build_array({compiler.process(element.clauses, **options)})"


class json_text(FunctionElement[str]):  # noqa: N801
    """``json_text(object, name)``: the text that a JSON object has under a name, which is one of our ids."""

    type = Text()
    inherit_cache = True


class json_number(FunctionElement[int]):  # noqa: N801
    """``json_number(object, name)``: as ``json_text``, of a whole number."""

    type = BigInteger()
    inherit_cache = True


@compiles(json_text, "sqlite")
@compiles(json_number, "sqlite")
def _sqlite_json_value(element: json_text | json_number, compiler: SQLCompiler, **options: object) -> str:
    values, name = (compiler.process(argument, **options) for argument in element.clauses)
    return f"json_extract({values}, '$.' || {name})"


@compiles(json_text, "postgresql")
def _postgresql_json_text(element: json_text | json_number, compiler: SQLCompiler, **options: object) -> str:
    values, name = (compiler.process(argument, **options) for argument in element.clauses)
    return f"(({values})::json ->> {name})"


@compiles(json_number, "postgresql")
def _postgresql_json_number(element: json_number, compiler: SQLCompiler, **options: object) -> str:
    return f"{_postgresql_json_text(element, compiler, **options)}::bigint"


class turn_taken(FunctionElement[int]):  # noqa: N801
    """``turn_taken(number)``: waits until no other transaction has taken this turn; it ends with the transaction.

    For what no row stands for. SQLite has one transaction that writes at a time as it is.
    """

    type = BigInteger()
    inherit_cache = True


@compiles(turn_taken, "sqlite")
def _sqlite_turn_taken(element: turn_taken, compiler: SQLCompiler, **options: object) -> str:
    return compiler.process(element.clauses, **options)


@compiles(turn_taken, "postgresql")
def _postgresql_turn_taken(element: turn_taken, compiler: SQLCompiler, **options: object) -> str:
    return f"pg_advisory_xact_lock({compiler.process(element.clauses, **options)})"


class unindexed(FunctionElement[str]):  # noqa: N801
    """``unindexed(column)``: the column, as something to filter by and not to search by.

    SQLite plans without statistics and takes two equalities for better than a range, however many rows they leave
    (sqlite.org/optoverview.html, "Disqualifying WHERE Clause Terms"). PostgreSQL plans without them, too, until it has
    analysed a table, and takes one index for as good as another.
    """

    type = Text()
    inherit_cache = True


@compiles(unindexed, "sqlite")
def _sqlite_unindexed(element: unindexed, compiler: SQLCompiler, **options: object) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


@compiles(unindexed, "postgresql")
def _postgresql_unindexed(element: unindexed, compiler: SQLCompiler, **options: object) -> str:
    return f"({compiler.process(element.clauses, **options)} || '')"


def insert_if_absent(table: Table) -> Insert:
    """An ``INSERT`` that leaves a row alone that is there already, and waits for one that is just being stored.

    SQLAlchemy has it for each dialect by itself; to state it by SQLite's spares a server on SQLite importing the other.
    """
    return sqlite_insert(table).on_conflict_do_nothing()


@compiles(OnConflictDoNothing, "postgresql")
def _postgresql_do_nothing(_element: OnConflictDoNothing, _compiler: SQLCompiler, **_options: object) -> str:
    return "ON CONFLICT DO NOTHING"


def json_parameter(value: Sequence[str] | Mapping[str, str] | Mapping[str, int]) -> str:
    """A value for what takes JSON above."""
    return orjson.dumps(value).decode()
