"""Statements of the per-prompt path, compiled once and then run as plain SQL.

SQLAlchemy Core prepares every execution again: it collects parameters, expands lists, looks for
processors. For a statement that takes SQLite 0.05 ms that is most of the cost, and a flush runs
eight of them. These statements are written in Core like all others and have the same meaning on
both databases; only the way to the driver is shorter. They lack the conversion of types: callers
pass plain values, pairs through `id_pairs`, JSON through `json_text`, and read JSON through
`json_value`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import CursorResult, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from promptmill.store.db.database import Transaction


class _Ready:
    """Statement in one dialect's SQL."""

    def __init__(self, text: str, names: Sequence[str], constants: Mapping[str, Any]) -> None:
        """Store the SQL; `names` are the parameters in order, none if they are passed by name."""
        self._text = text
        self._names = names
        self._pieces = text.split("?") if names else [text]
        self._constants = constants
        self._in_order = itemgetter(*names) if len(names) > 1 else None

    def bind(self, parameters: Mapping[str, Any]) -> tuple[str, Any]:
        """Text and arguments of one execution."""
        values = {**self._constants, **parameters}
        if not self._names:
            return self._text, values
        if self._in_order and not any(isinstance(each, list) for each in parameters.values()):
            return self._text, self._in_order(values)
        return self._bind_lists(values)

    def bind_each(self, parameters: Sequence[Mapping[str, Any]]) -> tuple[str, Any]:
        """Text and arguments of several executions without lists."""
        rows = [{**self._constants, **each} for each in parameters]
        return self._text, [self._in_order(row) for row in rows] if self._in_order else rows

    def _bind_lists(self, values: Mapping[str, Any]) -> tuple[str, Any]:
        """Expand lists to one placeholder for each item."""
        text = [self._pieces[0]]
        arguments: list[Any] = []
        for name, piece in zip(self._names, self._pieces[1:], strict=True):
            value = values[name]
            if isinstance(value, Pairs):
                text.append(", ".join(["(?, ?)"] * len(value)))
                arguments.extend(chain.from_iterable(value))
            elif isinstance(value, list):
                items = cast("list[int]", value)
                text.append(", ".join("?" * len(items)))
                arguments.extend(items)
            else:
                text.append("?")
                arguments.append(value)
            text.append(piece)
        return "".join(text), tuple(arguments)


class Pairs(list[tuple[int, int]]):
    """List of pairs as one parameter."""


class Prepared:
    """Core statement that is compiled once per dialect."""

    def __init__(self, statement: sa.ClauseElement) -> None:
        self._statement = statement
        self._ready: dict[str, _Ready] = {}

    def run(
        self, tx: Transaction, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> CursorResult[Any]:
        """Run the statement once, or once for each of several parameter sets."""
        dialect = tx.connection.dialect
        ready = self._ready.get(dialect.name)
        if ready is None:
            several = not isinstance(parameters, Mapping)
            ready = self._ready[dialect.name] = _compile(
                self._statement, dialect, list(parameters[0]) if several else None
            )
        if isinstance(parameters, Mapping):
            return tx.connection.exec_driver_sql(*ready.bind(parameters))
        return tx.connection.exec_driver_sql(*ready.bind_each(parameters))


def _compile(statement: sa.ClauseElement, dialect: Dialect, columns: list[str] | None) -> _Ready:
    compiled = statement.compile(dialect=dialect, column_keys=columns)
    if not isinstance(compiled, SQLCompiler):
        raise TypeError("only SQL can be prepared")
    constants: dict[str, Any] = {}
    for bind, name in compiled.bind_names.items():
        if not bind.required:
            convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
            constants[name] = convert(bind.value) if convert else bind.value
    names = (compiled.positiontup or []) if compiled.positional else []
    return _Ready(str(compiled), names, constants)


class _IdsIn(sa.ColumnElement[bool]):
    """Condition that an id is in a list, which is one parameter."""

    inherit_cache = False
    type = sa.Boolean()
    _is_implicitly_boolean = True  # or SQLite would be asked whether it equals 1, without its index

    def __init__(self, column: sa.ColumnElement[int], name: str) -> None:
        self.column = column
        self.name = name


class _PairsIn(sa.ColumnElement[bool]):
    """Condition that a pair of numbers is in a list of pairs, which is one parameter or two."""

    inherit_cache = False
    type = sa.Boolean()
    _is_implicitly_boolean = True  # or SQLite would be asked whether it equals 1, without its index

    def __init__(
        self, first: sa.ColumnElement[int], second: sa.ColumnElement[int], name: str
    ) -> None:
        self.first = first
        self.second = second
        self.name = name


def ids_in(column: sa.ColumnElement[int], name: str) -> sa.ColumnElement[bool]:
    """Condition that `column` is one of the ids in the list of the parameter `name`."""
    return _IdsIn(column, name)


def pairs_in(
    first: sa.ColumnElement[int], second: sa.ColumnElement[int], name: str
) -> sa.ColumnElement[bool]:
    """Condition that the two columns are one of the pairs in the parameters of `id_pairs`."""
    return _PairsIn(first, second, name)


def id_pairs(tx: Transaction, name: str, pairs: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Parameters of `pairs_in`."""
    if tx.is_sqlite:
        return {name: Pairs(pairs)}
    return {f"{name}_1": [one for one, _ in pairs], f"{name}_2": [two for _, two in pairs]}


def json_text(value: object) -> str | None:
    """Encode JSON for a column; None stays NULL."""
    return None if value is None else json.dumps(value)


def json_value(read: Any) -> Any:  # noqa: ANN401 - whatever was stored
    """Decode a JSON column: SQLite's driver returns its text, PostgreSQL's the value."""
    return json.loads(read) if isinstance(read, str) else read


_ARRAY = postgresql.ARRAY(sa.BigInteger)


@compiles(_IdsIn, "sqlite")
def _ids_in_sqlite(element: _IdsIn, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    column = compiler.process(element.column, **options)
    ids = compiler.process(sa.bindparam(element.name, type_=sa.Integer), **options)
    return f"{column} IN ({ids})"


@compiles(_IdsIn, "postgresql")
def _ids_in_postgresql(element: _IdsIn, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    column = compiler.process(element.column, **options)
    ids = compiler.process(sa.bindparam(element.name, type_=_ARRAY), **options)
    return f"{column} = ANY({ids})"


@compiles(_PairsIn, "sqlite")
def _pairs_in_sqlite(element: _PairsIn, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    first = compiler.process(element.first, **options)
    second = compiler.process(element.second, **options)
    pairs = compiler.process(sa.bindparam(element.name, type_=sa.Integer), **options)
    return f"({first}, {second}) IN (VALUES {pairs})"


@compiles(_PairsIn, "postgresql")
def _pairs_in_postgresql(element: _PairsIn, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    first = compiler.process(element.first, **options)
    second = compiler.process(element.second, **options)
    ones = compiler.process(sa.bindparam(f"{element.name}_1", type_=_ARRAY), **options)
    twos = compiler.process(sa.bindparam(f"{element.name}_2", type_=_ARRAY), **options)
    return f"({first}, {second}) IN (SELECT * FROM unnest({ones}, {twos}))"  # noqa: S608 - as above


def slices(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yield the items in pieces of at most that size, for statements with a limit of values."""
    for first in range(0, len(items), size):
        yield items[first : first + size]
