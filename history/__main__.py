"""`mlperf-sut runs`: list, compare, archive and remove the runs of a folder.

  runs [list] [DIR] [filters] [--json]    a table of the runs in DIR (default: runs/)
  runs index [DIR]                        DIR/index.html with links and charts
  runs compare A B                        as `report compare A B`
  runs archive [DIR] OUT.tar.gz [filters] pack runs into a file; the folders stay
  runs prune [DIR] --keep N | --older-than DAYS [filters]
                                          removes runs; asks first, or --yes

prune never removes a run of a campaign, one without a verdict, one whose folder was
renamed, or the one that `latest` names.
"""

from base.command import ArgumentParser, run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("history.__main__")

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from base.decode import printable
from base.errors import ExitCode, UserError, write_failure
from history.entry import RunEntry, list_runs
from history.keep import archive, campaign_files, removable, remove
from history.page import write_index
from history.query import add_filters, choose

_PROG = "python -m history"
_MB = 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return run_command(lambda: _command(given))


def _command(given: list[str]) -> int:
    actions = {"list": _list, "index": _index, "archive": _archive, "prune": _prune}
    name = given[0] if given else ""
    if name in ("-h", "--help"):
        print(__doc__.strip())
        return ExitCode.GOOD
    action = actions.get(name)
    return _list(given) if action is None else action(given[1:])


def _list(given: list[str]) -> int:
    parser = _parser("list")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    options = parser.parse_args(given)
    runs = _chosen(options)
    if options.json:
        for run in runs:  # a name may have bytes that no text can contain
            run.path, run.campaign = printable(run.path), printable(run.campaign)
        text = msgspec.json.encode(runs)
        print(msgspec.json.format(text, indent=2).decode())
    else:
        _print_table(runs)
    return ExitCode.GOOD


def _index(given: list[str]) -> int:
    options = _parser("index").parse_args(given)
    try:
        print(write_index(options.dir, _chosen(options)))
    except OSError as error:
        raise write_failure(options.dir, error, "name another folder") from error
    return ExitCode.GOOD


def _archive(given: list[str]) -> int:
    parser = _parser("archive")
    parser.add_argument("out", type=Path, help="the new file, e.g. runs.tar.gz")
    options = parser.parse_args(given)
    runs = [
        run for run in _chosen(options) if run.outcome not in ("running", "unknown")
    ]
    if not runs:
        raise UserError(f"{options.dir}: no finished run matches the filters")
    paths = [options.dir / run.path for run in runs]
    archive(options.dir, [*paths, *campaign_files(options.dir, runs)], options.out)
    size = options.out.stat().st_size / _MB
    print(f"{options.out}: {len(runs)} runs, {size:,.1f} MB; the folders are unchanged")
    return ExitCode.GOOD


def _prune(given: list[str]) -> int:
    parser = _parser("prune")
    parser.add_argument(
        "--keep", type=_count, metavar="N", help="keep the newest N runs"
    )
    parser.add_argument(
        "--older-than",
        type=_days,
        metavar="DAYS",
        help="only runs that started more than DAYS days ago",
    )
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    options = parser.parse_args(given)
    removals = removable(
        options.dir,
        _chosen(options),
        keep=options.keep,
        older_than_days=options.older_than,
    )
    if not removals:
        print("nothing to remove")
        return ExitCode.GOOD
    for one in removals:
        size = one.size_bytes / _MB
        print(f"{printable(str(one.path))}  {one.run.outcome}  {size:,.1f} MB")
    total = sum(one.size_bytes for one in removals) / _MB
    what = f"{len(removals)} runs, {total:,.1f} MB"
    if not options.yes and not _confirmed(f"Remove {what}? Type yes: "):
        print("nothing was removed")
        return ExitCode.NOT_GOOD
    remove(removals)
    print(f"removed {what}")
    return ExitCode.GOOD


def _confirmed(question: str) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        print("no terminal for the question: give --yes to remove the runs")
        return False
    try:
        return input(question).strip() == "yes"
    except EOFError:
        return False


def _chosen(options: argparse.Namespace) -> list[RunEntry]:
    """Return the runs in the folder that fit the filters.

    Raises:
        UserError: there is no such folder.
    """
    if not options.dir.is_dir():
        raise UserError(f"{options.dir}: no such folder; name a folder of runs")
    return choose(list_runs(options.dir), options)


def _print_table(runs: list[RunEntry]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("run", "scenario", "model", "engine", "devices", "outcome"):
        table.add_column(name, overflow="fold")
    for name in ("replicas", "samples/s", "TTFT p99, ms", "TPOT p99, ms"):
        table.add_column(name, justify="right")
    for run in runs:
        table.add_row(
            run.path,
            f"{run.scenario} {run.mode}",
            run.model,
            run.engine,
            ", ".join(run.devices),
            run.outcome + (", degraded" if run.degraded else ""),
            str(run.replicas or ""),
            *(
                "" if value is None else f"{value:,.2f}"
                for value in (run.samples_per_s, run.ttft_p99_ms, run.tpot_p99_ms)
            ),
        )
    terminal = sys.stdout is not None and sys.stdout.isatty()
    console = Console(width=None if terminal else 240, highlight=False, markup=False)
    console.print(table)
    print(f"{len(runs)} runs")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: give a number of runs, e.g. 20")
    return int(text)


def _days(text: str) -> float:
    try:
        days = float(text.removesuffix("d"))
    except ValueError:
        days = math.nan
    if not 0 <= days <= 36_500:
        raise argparse.ArgumentTypeError(f"{text}: give days, e.g. 30")
    return days


def _parser(action: str) -> argparse.ArgumentParser:
    parser = ArgumentParser(prog=f"{_PROG} {action}", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "dir", type=Path, nargs="?", default=Path("runs"), help="folder of runs"
    )
    add_filters(parser)
    return parser
