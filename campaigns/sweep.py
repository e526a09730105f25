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
  run.dir=DIR       folder of the sweep (default: runs/<UTC time>-sweep); the same
                    command with the same folder resumes an interrupted sweep

Writes sweep.json, sweep.csv, sweep.md, and two plots (SVG, PNG): latency_throughput
and pareto.

Exit codes: 0 every point was measured, 1 some were not, 2 bad input, 3 interrupted.
"""

from base.command import run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("campaigns.sweep")

import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.child import Children
from base.errors import ExitCode, UserError
from base.log import logger
from campaigns.child_run import run_child
from campaigns.folders import damaged, interrupted, make_root
from campaigns.options import number_option
from campaigns.sweep_points import label, make_points, point_options, read_points
from campaigns.sweep_record import NAME, Sweep, read_run_of
from campaigns.sweep_result import write_results
from conf.load import load_config
from record.folder import write_json
from report.wording import clock_time

_LOG = logger(__name__)


@dataclass(slots=True, kw_only=True)
class SweepOptions:
    """What the command line asks for."""

    overrides: list[str] = field(default_factory=list)
    points: Path | None = None
    repeats: int = 1
    budget_s: float | None = None
    seed: int = 0
    root: Path | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return run_command(lambda: _command(given))


def _command(arguments: Sequence[str]) -> int:
    if not arguments or "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return ExitCode.GOOD if arguments else ExitCode.BAD_INPUT
    options = parse(arguments)
    sweep = _planned(options)
    for point in sweep.points:
        try:
            load_config([*sweep.shared, *point_options(point)])
        except UserError as error:
            raise UserError(f"point {label(point)}: {error}") from error
    root = make_root(options.root, "sweep")
    sweep = _resumed(root, sweep)
    with Children() as children:
        try:
            _run_all(root, sweep, children, options.budget_s)
        finally:
            if sweep.runs:
                print(write_results(root, sweep))
    _LOG.info("sweep: %s", root)
    measured = {run.point for run in sweep.runs if run.figures}
    return ExitCode.GOOD if len(measured) == len(sweep.points) else ExitCode.NOT_GOOD


def parse(arguments: Sequence[str]) -> SweepOptions:
    """Return the options on the command line.

    Raises:
        UserError: a value makes no sense.
    """
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
            options.repeats = int(number_option(text, r"[1-9]\d{0,3}"))
        elif key == "budget_s":
            options.budget_s = number_option(text, r"[1-9]\d{0,8}(\.\d+)?")
        elif key == "seed":
            options.seed = int(number_option(text, r"\d{1,9}"))
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
    if problem := found.problem():
        raise damaged(root, NAME, problem)
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
    root: Path, sweep: Sweep, children: Children, budget_s: float | None
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
        eta = f", about {clock_time(usual * (len(todo) - number + 1))} left"
        point = sweep.points[place]
        _LOG.info(
            "== run %d of %d: %s%s",
            number,
            len(todo),
            label(point),
            eta if usual else "",
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
