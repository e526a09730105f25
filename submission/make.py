"""`mlperf-sut submission run`: every missing run, in order."""

from rich.console import Console

from base.benchmark import SERVER_SCENARIOS, TITLES
from base.child import Children
from base.errors import NotGood, UserError
from conf.schema import Mode
from record.source import source_digests
from submission.build import require_buildable
from submission.plan import (
    PlannedRun,
    plan_runs,
    rules_of,
    server_schedule,
    sizing,
)
from submission.request import Request
from submission.runs import Evidence, find_run, known_rates, make_run, probe

_NEAR = 1.02
"""A run this much longer than the shortest is still called efficient."""


def show_plan(request: Request, console: Console) -> None:
    """Print the runs, their order, their expected duration, and what is done.

    Raises:
        UserError: the request cannot be run, or no tree could be built from its runs.
    """
    runs = plan_runs(request, known_rates(request))
    source = source_digests()
    left = 0.0
    for number, run in enumerate(runs, 1):
        found = find_run(request.runs, run, source)
        if found.folder is None:
            left += run.expected_s or 0
        console.print(
            f"{number:2} {run.title:24} {_duration(run):>13}  {_state(found, run)}",
            markup=False,
        )
    console.print(
        f"missing runs: {left / 60:.0f} min in LoadGen, beside loading and warming up"
        " before each run"
    )
    for run in runs:
        _rate_advice(run, console)
    require_buildable(request, runs)


def make_all(request: Request, console: Console) -> None:
    """Make every missing run; stop at the first one that cannot be used.

    Raises:
        UserError: the request cannot be run, or no tree could be built from its runs.
        NotGood: a run did not pass or was degraded.
        Aborted: a run was aborted or interrupted.
    """
    runs = plan_runs(request, known_rates(request))
    for run in runs:
        _refuse_without_rate(run, request)
    require_buildable(request, runs)
    with Children() as children:
        _make_missing(children, request, runs, console)


def _make_missing(
    children: Children, request: Request, runs: list[PlannedRun], console: Console
) -> None:
    unsized = {run.scenario for run in runs if sizing(run.config)[1] is None}
    for scenario in sorted(unsized, key=request.scenarios.index):
        console.print(f"probe of {TITLES[scenario]}: sizes its runs")
        probe(children, request, scenario)
    if unsized:
        runs = plan_runs(request, known_rates(request))
    for run in runs:
        rules_of(run.config)
        _rate_advice(run, console)
    for number, run in enumerate(runs, 1):
        found = find_run(request.runs, run, source_digests())
        head = f"[{number}/{len(runs)}] {run.title}"
        if found.folder is not None:
            console.print(f"{head}: done ({found.folder.path.name})", markup=False)
            continue
        console.print(f"{head}: {_duration(run)} expected", markup=False)
        folder = make_run(children, run.title, run.options, request.runs)
        found = find_run(request.runs, run, source_digests())
        if found.folder is None:
            raise NotGood(
                f"{run.title}: {found.refused or folder.path}; fix it and run"
                " the same command again"
            )


def _refuse_without_rate(run: PlannedRun, request: Request) -> None:
    if run.scenario not in SERVER_SCENARIOS or sizing(run.config)[1] is not None:
        return
    raise UserError(
        f"scenario_options.{run.scenario.value}: needs scenario.target_qps, the arrival"
        f" rate; {_advice(request)}"
    )


def _advice(request: Request) -> str:
    offline = known_rates(request).get("offline")
    if offline is None:
        return "usually a little below the Offline rate"
    return f"Offline reached {offline:g} samples/s, and a little below is usual"


def _rate_advice(run: PlannedRun, console: Console) -> None:
    """Print where a slightly lower rate would save a whole pass over the data."""
    rate = sizing(run.config)[1]
    if run.scenario not in SERVER_SCENARIOS or rate is None:
        return
    if run.config.mode is not Mode.performance:
        return
    schedule = server_schedule(run.config)
    arrivals = schedule.arrivals(rate)
    console.print(
        f"{run.title}: {rate:g} queries/s issue {arrivals.queries:,} queries in"
        f" {arrivals.duration_s:,.0f} s",
        markup=False,
    )
    passes = arrivals.queries // schedule.pass_queries
    if arrivals.duration_s > _NEAR * schedule.min_duration_s:
        rates = schedule.efficient_rates(passes)[-2:]
        listed = "; ".join(f"{r.target_qps:g} ({r.duration_s:,.0f} s)" for r in rates)
        console.print(f"  rates that need one pass less: {listed}", markup=False)


def _duration(run: PlannedRun) -> str:
    if run.expected_s is None:
        return "after a probe"
    return f"{run.expected_s:,.0f} s"


def _state(found: Evidence, run: PlannedRun) -> str:
    if found.folder is not None:
        return f"done: {found.folder.path.name}"
    if found.refused:
        return f"again, since {found.refused}"
    return "probe first" if run.expected_s is None else "to be made"
