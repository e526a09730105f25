"""Reads figures and tables out of a report as plain values."""

from pathlib import Path
from typing import Any

from record.folder import RunFolder
from report.content import make_report
from report.reading.folder import read_run

Plain = dict[str, Any]


def report_of(*folders: RunFolder | Path) -> Plain:
    """Return report.json's content for these run folders."""
    paths = [f.path if isinstance(f, RunFolder) else f for f in folders]
    return make_report([read_run(path) for path in paths]).content.plain()


def rows(table: Plain) -> list[Plain]:
    """Return a table's rows by column name."""
    names = [column["name"] for column in table["columns"]]
    return [dict(zip(names, row, strict=True)) for row in table["rows"]]


def row(table: Plain, **wanted: object) -> Plain:
    """Return the first row with these values."""
    return next(r for r in rows(table) if all(r[k] == v for k, v in wanted.items()))


def codes(report: Plain) -> list[str]:
    """Return the kinds of findings, gravest first."""
    return [finding["code"] for finding in report["findings"]]
