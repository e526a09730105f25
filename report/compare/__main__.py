"""`mlperf-sut report compare A... -- B...`: two configurations, measure by measure.

A and B are run folders; `--` separates the two sides. Two folders need no `--`. Runs
that alternated in time (A B A B, or A B B A) are compared as pairs. Exit code 0: the
comparison was made, whatever it found; 2: the runs cannot be compared.
"""

from base.command import ArgumentParser, run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("report.compare.__main__")

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from base.errors import ExitCode, UserError, write_failure
from record.folder import RecordError
from report.compare.comparison import compare_sides
from report.compare.pages import as_text, write_comparison
from report.compare.setups import option_differences
from report.reading.folder import read_run
from report.reading.run import Run

_SIDES = "\0"
"""Stands for `--`, which argparse keeps for itself; no path can hold it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return run_command(lambda: _compare(given))


def _compare(arguments: list[str]) -> int:
    """Print the comparison; write it with --out; return the exit code.

    Raises:
        UserError: the command line is wrong, or the runs cannot be compared.
        RecordError: a run folder is missing or damaged.
    """
    options = _parser().parse_intermixed_args(
        [_SIDES if given == "--" else given for given in arguments]
    )
    a, b = _sides(options.runs)
    if not a or not b:
        raise UserError("give runs of both sides: compare A... -- B...")
    _check_paths(a, b)
    sides = [read_run(path) for path in a], [read_run(path) for path in b]
    _check_comparable(*sides)
    design = options.design
    if design == "paired" and len(a) != len(b):
        raise UserError(
            f"--paired: {len(a)} runs before `--` and {len(b)} after it; give as many"
            " runs of each side"
        )
    comparison = compare_sides(*sides, options.smallest / 100, design)
    print(as_text(comparison))
    if options.out is not None:
        try:
            page = write_comparison(comparison, options.out)
        except OSError as error:
            raise write_failure(
                error.filename or options.out, error, "give another --out"
            ) from error
        print(f"page: {page}")
    return ExitCode.GOOD


def _sides(given: list[str]) -> tuple[list[Path], list[Path]]:
    """Return the folders before `--` and after it; without it, one folder each."""
    at = (
        given.index(_SIDES) if _SIDES in given else 1 if len(given) == 2 else len(given)
    )
    rest = [path for path in given[at:] if path != _SIDES]
    return [Path(path) for path in given[:at]], [Path(path) for path in rest]


def _check_paths(a: list[Path], b: list[Path]) -> None:
    seen: dict[Path, Path] = {}
    for path in [*a, *b]:
        if (known := path.resolve()) in seen:
            raise RecordError(path, "given twice (a link counts); give each run once")
        seen[known] = path


def _check_comparable(a: list[Run], b: list[Run]) -> None:
    """Check that every run can be compared with the first one.

    Raises:
        RecordError: it cannot; the message says why.
    """
    first = a[0]
    for side, label in ((a, "A"), (b, "B")):
        for run in side:
            _check_finished(run)
            for name, one, other in (
                ("scenario", first.settings.scenario, run.settings.scenario),
                ("mode", first.settings.mode, run.settings.mode),
                ("benchmark", first.settings.benchmark, run.settings.benchmark),
                ("data set", _dataset(first), _dataset(run)),
            ):
                if one != other:
                    raise RecordError(
                        _path(run),
                        f"{name} {other} cannot be compared with {one} of"
                        f" {_path(first)}; give runs of one {name}",
                    )
            if different := option_differences(side[0], run):
                name = different[0]
                values = [one.config.options.get(name) for one in (side[0], run)]
                raise RecordError(
                    _path(run),
                    f"{name} is {values[1]}, and {values[0]} in {_path(side[0])}: the"
                    f" runs of side {label} must share their configuration",
                )


def _check_finished(run: Run) -> None:
    if run.verdict.outcome == "aborted" or not len(run.done):
        reason = run.verdict.reason or "no sample was completed"
        raise RecordError(_path(run), f"has no result to compare: {reason}")


def _dataset(run: Run) -> str:
    """Return the name of the data set with the digest of its file."""
    digest = run.settings.dataset_sha256
    rows = run.config.options.get("dataset.count")
    parts = [f"sha256 {digest[:12]}" if digest else "", f"{rows} rows" if rows else ""]
    detail = ", ".join(part for part in parts if part)
    return run.config.dataset.name + (f" ({detail})" if detail else "")


def _path(run: Run) -> Path:
    return run.path or Path(run.name)


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m report compare",
        description=__doc__,
        usage="%(prog)s [options] A... -- B...",
    )
    parser.add_argument(
        "runs", metavar="A... -- B...", nargs="*", help="run folders of both sides"
    )
    design = parser.add_mutually_exclusive_group()
    for name, text in (
        ("paired", "compare the runs as pairs, in order of time"),
        ("unpaired", "compare the runs as independent, even if they alternated"),
    ):
        design.add_argument(
            f"--{name}", dest="design", action="store_const", const=name, help=text
        )
    parser.add_argument(
        "--smallest",
        type=_percentage,
        default=1.0,
        metavar="PERCENT",
        help="smallest difference that matters; default 1",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for comparison.html, .md and .json"
    )
    return parser


def _percentage(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text}: give a percentage, 0.01 to 100")
    return value
