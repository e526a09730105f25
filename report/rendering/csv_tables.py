"""Writes each table of a report as CSV."""

import csv
import io
from collections.abc import Iterator

from record.structs import Json

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of cells that a spreadsheet takes for a formula."""


def tables(content: dict[str, Json]) -> Iterator[tuple[str, dict[str, Json]]]:
    """Yield (section.name, table) of every table in report.json."""
    for key, section in content.items():
        if isinstance(section, dict):
            for name, item in section.items():
                if "columns" in item:
                    yield f"{key}.{name}", item


def as_csv(table: dict[str, Json]) -> str:
    """Return a table as CSV: a row of `name (unit)`, then the rows."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        _cell(f"{c['name']} ({c['unit']})" if c["unit"] else c["name"])
        for c in table["columns"]
    )
    writer.writerows([_cell(value) for value in row] for row in table["rows"])
    return buffer.getvalue()


def _cell(value: Json) -> Json:
    """Return a value as a cell that a spreadsheet does not take for a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
