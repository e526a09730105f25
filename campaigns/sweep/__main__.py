"""`mlperf-sut campaign sweep OPTION=A,B,C ...`: a run for each point of a grid or list.

Options with several values span a grid:
  mlperf-sut campaign sweep scenario=server scenario.target_qps=40,50,60
      engine.options.max_num_batched_tokens=2048,4096 run.min_queries=2000

Options of this command (all options of `mlperf-sut run` also apply):
  points=FILE       YAML or JSON: a list of mappings OPTION: VALUE, each a point; with
                    a grid, each is combined with each point of the grid
  repeats=1         runs of each point, in rounds; each round has a different order
  budget_s=SECONDS  start no run that would end later, by the runs so far
  seed=0            seed of the order of runs
  --quiet, --json   warnings and the result only; the result as one JSON object
  run.dir=DIR       folder of the sweep (default: runs/<UTC time>-sweep); the same
                    command with the same folder resumes an interrupted sweep

Writes sweep.json, sweep.csv, sweep.md, and two plots (SVG, PNG): latency_throughput
and pareto.

Exit codes: 0 every point was measured, 1 some were not, 2 bad input, 3 interrupted.
"""

from base.command import start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("campaigns.sweep.__main__")

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.child import Children
from base.errors import ExitCode, UserError
from base.log import logger
from campaigns.command import campaign_command
from campaigns.folders import interrupted, make_root
from campaigns.options import number_option, refuse_repeated, whole_option
from campaigns.output import Output, show
from campaigns.progress import CampaignFile, campaign_run, left_words, time_left
from campaigns.series import new_campaign, run_child
from campaigns.sweep.points import label, make_points, point_options, read_points
from campaigns.sweep.record import NAME, Sweep, read_run_of
from campaigns.sweep.result import RATE, summary, write_results
from conf.load import load_config
from conf.schema import Config
from record.campaign import CampaignRun, Status
from record.folder import write_json
from report.wording import clock_time

_LOG = logger(__name__)


@dataclass(slots=True, kw_only=True)
class SweepOptions:
    """What the command line asks for."""

    overrides: list[str] = field(default_factory=list)
    """Options of every run; those with several values span the grid."""
    points: Path | None = None
    """File that lists points; None: the grid alone."""
    repeats: int = 1
    """Runs of each point."""
    budget_s: float | None = None
    """Start no run that would end later, in s; None: no limit."""
    seed: int = 0
    """Of the order of runs."""
    root: Path | None = None
    """Folder of the sweep; None: a new one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return campaign_command(__doc__, _command, arguments, bare=False)


def _command(output: Output, arguments: Sequence[str]) -> int:
    options = parse(arguments)
    sweep = _planned(options)
    configs: list[Config] = []
    for point in sweep.points:
        try:
            configs.append(load_config([*sweep.shared, *point_options(point)]))
        except UserError as error:
            raise UserError(f"point {label(point)}: {error}") from error
    root = make_root(options.root, "sweep")
    sweep = _resumed(root, sweep)
    file = CampaignFile(
        root=root, campaign=new_campaign("sweep", arguments, configs[0])
    )
    status: Status = "interrupted"
    with output.children() as children:
        try:
            _run_all(root, sweep, children, options.budget_s, file)
            measured = {run.point for run in sweep.runs if run.figures}
            status = "good" if len(measured) == len(sweep.points) else "not good"
        finally:
            file.end(status, _campaign_runs(root, sweep))
            if sweep.runs:
                table = write_results(root, sweep)
                show(output, summary(root, sweep, status), table)
    _LOG.info("sweep: %s", root)
    return ExitCode.GOOD if status == "good" else ExitCode.NOT_GOOD


def _campaign_runs(root: Path, sweep: Sweep) -> list[CampaignRun]:
    return [
        campaign_run(
            root,
            run.run,
            run.seconds,
            run.reason,
            rate=sweep.points[run.point].get(RATE),
        )
        for run in sweep.runs
        if run.run is not None
    ]


def parse(arguments: Sequence[str]) -> SweepOptions:
    """Return the options on the command line.

    Raises:
        UserError: a value makes no sense.
    """
    refuse_repeated(arguments)
    options = SweepOptions()
    for text in arguments:
        key, equals, value = text.partition("=")
        if not equals or text.startswith("-"):
            raise UserError(
                f"{text}: options are written KEY=VALUE, see"
                " mlperf-sut campaign sweep --help"
            )
        if key == "points":
            options.points = Path(value)
        elif key == "repeats":
            options.repeats = whole_option(text, at_least=1, at_most=9999)
        elif key == "budget_s":
            options.budget_s = number_option(text, "3600")
        elif key == "seed":
            options.seed = whole_option(text)
        elif key == "run.dir" and value:
            options.root = Path(value)
        else:
            options.overrides.append(text)
    return options


def _planned(options: SweepOptions) -> Sweep:
    listed = [] if options.points is None else read_points(options.points)
    shared, points = make_points(options.overrides, listed)
    return Sweep(
        shared=shared, points=points, repeats=options.repeats, seed=options.seed
    )


def _resumed(root: Path, planned: Sweep) -> Sweep:
    """Return the sweep of the folder `root`, if it has one; else the planned one.

    Raises:
        UserError: the folder holds another sweep.
    """
    found = interrupted(root, NAME, Sweep)
    if found is None:
        return planned
    if (found.shared, found.points) != (planned.shared, planned.points):
        raise UserError(
            f"run.dir={root} holds a sweep with other options; name another folder"
        )
    found.repeats, found.seed = planned.repeats, planned.seed
    _LOG.info("resumed: %d runs are done", len(found.runs))
    return found


def left(sweep: Sweep) -> list[tuple[int, int]]:
    """Return (repeat, point) of the runs that are to be made, in their order."""
    generator = random.Random(sweep.seed)
    made = {(run.repeat, run.point) for run in sweep.runs}
    order = []
    for repeat in range(sweep.repeats):
        numbers = list(range(len(sweep.points)))
        generator.shuffle(numbers)
        order += [(repeat, number) for number in numbers]
    return [run for run in order if run not in made]


def _run_all(
    root: Path,
    sweep: Sweep,
    children: Children,
    budget_s: float | None,
    file: CampaignFile,
) -> None:
    """Make the runs that are missing.

    Raises:
        Aborted: a signal came.
        OSError: the record cannot be written.
    """
    begin, todo = time.monotonic(), left(sweep)
    write_json(root / NAME, sweep)
    for number, (repeat, place) in enumerate(todo, 1):
        usual = (
            statistics.median(run.seconds for run in sweep.runs) if sweep.runs else 0
        )
        passed = time.monotonic() - begin
        if budget_s is not None and passed + usual > budget_s:
            _LOG.info(
                "budget_s=%g is used up; %d runs are left, about %s; the same command"
                " with run.dir=%s resumes",
                budget_s,
                len(todo) - number + 1,
                clock_time(usual * (len(todo) - number + 1)),
                root,
            )
            return
        left_s = time_left(
            [(run.point, run.seconds) for run in sweep.runs],
            [place for _, place in todo[number - 1 :]],
        )
        file.update(_campaign_runs(root, sweep), left_s)
        point = sweep.points[place]
        _LOG.info(
            "== run %d of %d: %s%s",
            number,
            len(todo),
            label(point),
            left_words(left_s),
        )
        arguments = [*sweep.shared, *point_options(point), f"run.dir={root}"]
        started = time.monotonic()
        ended = run_child(children, arguments)
        seconds = time.monotonic() - started
        made = read_run_of(place, repeat, ended.folder, ended.code, seconds)
        if made.reason:
            _LOG.info("   does not count: %s", made.reason)
        sweep.runs.append(made)
        write_json(root / NAME, sweep)
