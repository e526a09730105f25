"""`mlperf-sut report RUN_DIR...`: the report of a run, or of several runs.

One run folder gives the symmetry report of that run, which is written into the folder.
Several run folders also give their scaling by number of replicas. That report is
written into --out; without --out, into the folder that contains all of them. The folder
of a campaign gives the report of all runs that the campaign made.

`mlperf-sut report compare A... -- B...` compares two configurations.
"""

from base.command import ArgumentParser, run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("report.__main__")

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from base.errors import ExitCode, write_failure
from record.campaign import NAME, Campaign, read_campaign
from record.folder import RecordError
from report.build import write_files
from report.compare.__main__ import main as compare
from report.content import make_report
from report.reading.config import MAY_DIFFER, differences
from report.reading.folder import read_run
from report.reading.run import Run
from report.statistics.physics import RATINGS, read_ratings

_QUIET_S = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["compare"]:
        return compare(given[1:])
    return run_command(lambda: _report(_parser().parse_args(given)))


def _report(options: argparse.Namespace) -> int:
    progress = _Progress()
    ratings = read_ratings(options.devices) if options.devices else RATINGS
    runs = []
    campaign, paths = _campaign(options.runs)
    for path in paths:
        progress.say(f"reading {path}")
        runs.append(read_run(path))
    _check_same_experiment(runs, paths)
    progress.say("comparing replicas")
    report = make_report(runs, ratings, campaign)
    out = options.out or _home(options.runs)
    try:
        page = write_files(report, out, progress.say)
    except OSError as error:
        path = error.filename or out
        raise write_failure(path, error, "give another --out") from error
    print(page)
    return ExitCode.GOOD


class _Progress:
    """Prints the current step once the report takes longer than three seconds."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def say(self, text: str) -> None:
        """Print a step, unless the report has been quick so far."""
        if time.monotonic() - self._begin > _QUIET_S:
            print(f"{text} ...", file=sys.stderr, flush=True)


def _campaign(paths: list[Path]) -> tuple[Campaign | None, list[Path]]:
    """Return the campaign in the folder that is given, and the folders of its runs.

    Without a campaign return None and the folders as given.

    Raises:
        RecordError: the campaign made no run, or its record is damaged.
    """
    if len(paths) != 1 or not (paths[0] / NAME).exists():
        return None, paths
    campaign = read_campaign(paths[0])
    if not campaign.runs:
        raise RecordError(paths[0] / NAME, "the campaign made no run")
    return campaign, [paths[0] / run.run for run in campaign.runs]


def _check_same_experiment(runs: list[Run], paths: list[Path]) -> None:
    """Check that the runs can be compared.

    Raises:
        RecordError: the runs are not of one experiment, or a folder is given twice.
    """
    for run, path in zip(runs[1:], paths[1:], strict=True):
        if run.settings.scenario != runs[0].settings.scenario:
            raise RecordError(
                path,
                f"scenario {run.settings.scenario!r} cannot be compared with"
                f" {runs[0].settings.scenario!r} of {paths[0]}; give runs of one"
                " scenario",
            )
        different = differences(runs[0].config, run.config)
        if different:
            raise RecordError(
                path,
                f"differs from {paths[0]} in {'; '.join(different[:5])}: not the same"
                f" experiment; give runs that differ only in {MAY_DIFFER}",
            )
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise RecordError(path, "given twice (a link counts); give each run once")
        seen.add(path.resolve())


def _home(paths: list[Path]) -> Path:
    if len(paths) == 1:
        return paths[0]
    return Path(os.path.commonpath([path.resolve().parent for path in paths]))


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(prog="python -m report", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--out", type=Path, help="folder to write the report into")
    parser.add_argument(
        "--devices",
        type=Path,
        help="JSON file with limits of devices that are not in the built-in table:"
        ' {"NAME": {"flops": {"16": 9e14, "8": 1.9e15}, "bytes_per_s": 3e12}}',
    )
    return parser
