"""What a campaign prints: the flags of its command line, and its result at the end.

The result is a table, a conclusion and the place of the report; with `--json` it is one
JSON object on stdout. Everything else (progress, warnings) goes to stderr.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct, field
from rich.console import Console
from rich.table import Table

from base.child import Children
from base.decode import printable
from base.log import be_quiet
from record.structs import Json

_QUIET, _JSON = "--quiet", "--json"
_STDERR = 2
_WIDTH = 160
"""Columns of a table that is not printed on a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How a campaign prints."""

    quiet: bool = False
    """Warnings and the result only; the same for its runs."""
    as_json: bool = False

    def children(self) -> Children:
        """Return the context for the runs: stdout is the campaign's if it is JSON."""
        if self.quiet:
            return Children(stdout=subprocess.DEVNULL)
        return Children(stdout=_STDERR if self.as_json else None)


class Summary(Struct, kw_only=True):
    """The result of a campaign, as `--json` prints it."""

    campaign: str
    """Which one, e.g. scaling."""
    status: str
    """good, not good, or interrupted."""
    conclusion: str
    """One line; empty: the table says it."""
    folder: str
    report: str | None = None
    """The page with the whole result."""
    columns: dict[str, str] = field(default_factory=dict)
    """Title of each column, with its unit, by its key in `rows`."""
    rows: list[dict[str, Json]] = field(default_factory=list)


def output_flags(arguments: Sequence[str]) -> tuple[Output, list[str]]:
    """Return what the flags of a command line ask for, and the other arguments."""
    output = Output(quiet=_QUIET in arguments, as_json=_JSON in arguments)
    if output.quiet:
        be_quiet()
    return output, [text for text in arguments if text not in (_QUIET, _JSON)]


def show(output: Output, summary: Summary, text: str | None = None) -> None:
    """Print the result.

    Args:
        output: how.
        summary: what.
        text: in place of the table and the conclusion; not with `--json`.
    """
    if output.as_json:
        encoded = msgspec.json.format(msgspec.json.encode(_clean(summary)), indent=2)
        print(encoded.decode())
        return
    if text is not None:
        print(text)
    else:
        if summary.rows:
            _print_table(summary)
        if summary.conclusion:
            print(summary.conclusion)
    if summary.report is not None:
        print(f"report: {printable(summary.report)}")


def _clean(summary: Summary) -> Summary:
    """Return it without bytes of file names that no text can contain."""
    report = None if summary.report is None else printable(summary.report)
    return msgspec.structs.replace(
        summary, folder=printable(summary.folder), report=report
    )


def _print_table(summary: Summary) -> None:
    table = Table(box=None, pad_edge=False)
    used = {
        key: title
        for key, title in summary.columns.items()
        if any(row.get(key) not in (None, "") for row in summary.rows)
    }
    for key, title in used.items():
        numbers = any(_is_number(row.get(key)) for row in summary.rows)
        table.add_column(title, justify="right" if numbers else "left", overflow="fold")
    for row in summary.rows:
        table.add_row(*(_cell(row.get(key)) for key in used))
    terminal = sys.stdout is not None and sys.stdout.isatty()
    console = Console(width=None if terminal else _WIDTH, highlight=False, markup=False)
    console.print(table)


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.4g}"
    return printable(str(value))
