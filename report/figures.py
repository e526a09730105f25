"""The two shapes of everything that report.json tells: figures and tables."""

from collections.abc import Sequence

from msgspec import Struct

from record.json_types import Json


class Figure(Struct, kw_only=True):
    """One number or word, with what it means."""

    value: Json
    unit: str
    definition: str


class Column(Struct, kw_only=True):
    """What a column of a table holds."""

    name: str
    unit: str
    definition: str


class Table(Struct, kw_only=True):
    """Rows of figures that share their columns."""

    columns: list[Column]
    rows: list[list[Json]]


def figure(value: Json, unit: str, definition: str) -> Figure:
    """Return a figure."""
    return Figure(value=value, unit=unit, definition=definition)


def table(columns: Sequence[tuple[str, str, str]], rows: list[list[Json]]) -> Table:
    """Return a table; a column is (name, unit, definition)."""
    return Table(
        columns=[Column(name=n, unit=u, definition=d) for n, u, d in columns], rows=rows
    )


Section = dict[str, Figure | Table]
"""One part of the report: figures and tables by name."""
