"""The two shapes of everything in report.json: figures and tables."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from msgspec import Struct

from record.structs import Json

Row = TypeVar("Row")


class Figure(Struct, kw_only=True):
    """One value with its unit and its meaning."""

    value: Json
    unit: str
    definition: str


class Header(Struct, kw_only=True, omit_defaults=True):
    """What report.json states about a column of a table."""

    name: str
    unit: str
    definition: str
    heading: str = ""
    """What readers see instead of the name, where the name is short."""


class Table(Struct, kw_only=True):
    """Rows of values that share their columns."""

    columns: list[Header]
    rows: list[list[Json]]


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column: what it is called, what it means, and how its values are computed."""

    name: str
    unit: str
    definition: str
    value: Callable[[Row], Json]
    """Computes the value of one row."""
    heading: str = ""


def figure(value: Json, unit: str, definition: str) -> Figure:
    """Return a figure."""
    return Figure(value=value, unit=unit, definition=definition)


def table(columns: Sequence[Column[Row]], rows: Iterable[Row]) -> Table:
    """Return a table: each column computes its value for each row."""
    return Table(
        columns=[
            Header(
                name=column.name,
                unit=column.unit,
                definition=column.definition,
                heading=column.heading,
            )
            for column in columns
        ],
        rows=[[column.value(row) for column in columns] for row in rows],
    )


Section = dict[str, Figure | Table]
"""One part of the report: figures and tables by name."""
