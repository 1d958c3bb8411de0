"""The base of the tables: what their classes share, and how they declare keys, states and indexes.

The rule to know: states are text, and stand in SQL as literals where a partial index must match.
With a bound parameter PostgreSQL's generic plan misses the index (docs/adr/0002).
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import BigInteger, ColumnElement, Enum, Index, Integer, MetaData, literal_column
from sqlmodel import SQLModel

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives the row's own place only to a column whose type is exactly INTEGER.
Key = BigInteger().with_variant(Integer, "sqlite")


class Row(SQLModel):
    """Base of the tables: one `MetaData` with named constraints."""

    metadata: ClassVar[MetaData] = metadata  # pyright: ignore[reportIncompatibleVariableOverride] - SQLModel's way


def _values(kind: type[StrEnum]) -> list[str]:
    return [member.value for member in kind]


def text_enum(kind: type[StrEnum]) -> Enum:
    """A text column that takes only an enum's values; not PostgreSQL's own ENUM type."""
    return Enum(
        kind, native_enum=False, create_constraint=False, length=32, values_callable=_values
    )


def is_in(column: ColumnElement[Any], states: Collection[StrEnum]) -> ColumnElement[bool]:
    """The condition that the column has one of the states, which are written as literals."""
    (kind,) = {type(state) for state in states}
    # In the order of the enum, so that the text is the same in every process.
    literals: list[ColumnElement[Any]] = [
        literal_column(f"'{state.value}'") for state in kind if state in states
    ]
    return column == literals[0] if len(literals) == 1 else column.in_(literals)


def partial_index(
    name: str, *columns: str, where: ColumnElement[bool], unique: bool = False
) -> Index:
    """An index of the rows for which the condition is true, on both databases."""
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)
