"""The comparison of two sides, measure by measure, with its conclusion."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from report.compare.conclusion import conclusion
from report.compare.measures import Measure, measures
from report.compare.ratios import (
    RatioEstimate,
    holm,
    paired,
    runs_for,
    smallest_found,
    unpaired,
)
from report.compare.result import (
    ComparedRun,
    Comparison,
    Design,
    MeasureComparison,
    Outcome,
)
from report.compare.setups import setup_differences
from report.reading.run import Run
from report.statistics.numbers import rounded
from report.statistics.rates import rate_of

_LEVEL = 0.05
_FEWEST_PAIRS = 3


def compare_sides(
    a: Sequence[Run],
    b: Sequence[Run],
    smallest: float,
    design: Design | None = None,
) -> Comparison:
    """Return the comparison of two sides of comparable runs.

    Args:
        a: runs of the first side, one or more.
        b: runs of the second side.
        smallest: smallest difference that matters, e.g. 0.01 for 1%.
        design: paired or unpaired; None: paired if the runs alternated.

    Raises:
        RecordError: a `source.json` is damaged.
    """
    a, b = (sorted(side, key=lambda run: run.begin_ns) for side in (a, b))
    reason = "as asked for"
    if design is None:
        design, reason = _design(a, b)
    found = _measures(a, b, smallest, design == "paired")
    differences = setup_differences(a, b)
    comparison = Comparison(
        scenario=a[0].settings.scenario,
        mode=a[0].settings.mode,
        design=design,
        design_reason=reason,
        smallest_pct=100 * smallest,
        a=[_run(run) for run in a],
        b=[_run(run) for run in b],
        conclusion=[],
        measures=found,
        differences=differences,
        notes=_notes(a, b),
    )
    comparison.conclusion = conclusion(comparison)
    return comparison


def _design(a: Sequence[Run], b: Sequence[Run]) -> tuple[Design, str]:
    """Return paired if each run of A has a run of B next to it in time."""
    if len(a) != len(b):
        return "unpaired", "the sides have different numbers of runs"
    if len(a) < _FEWEST_PAIRS:
        return "unpaired", f"fewer than {_FEWEST_PAIRS} runs of each side"
    ordered = sorted(
        [(run.begin_ns, "a") for run in a] + [(run.begin_ns, "b") for run in b]
    )
    sides = [side for _, side in ordered]
    if all({*sides[i : i + 2]} == {"a", "b"} for i in range(0, len(sides), 2)):
        return "paired", "the runs alternated between A and B"
    return "unpaired", "the runs did not alternate between A and B"


def _measures(
    a: Sequence[Run], b: Sequence[Run], smallest: float, is_paired: bool
) -> list[MeasureComparison]:
    found: list[MeasureComparison] = []
    estimates: list[RatioEstimate] = []
    for measure in measures([*a, *b]):
        values = _values(measure, a), _values(measure, b)
        if values[0] is None or values[1] is None:
            continue
        estimate = (paired if is_paired else unpaired)(values[0], values[1])
        estimates.append(estimate)
        found.append(
            _compared(measure, values[0], values[1], estimate, smallest, is_paired)
        )
    if not found:
        return []
    found[0].is_main = True
    adjusted = [estimates[0].p, *holm([one.p for one in estimates[1:]])]
    for one, estimate, p in zip(found, estimates, adjusted, strict=True):
        one.p_adjusted = rounded(p, 3)
        one.outcome = _outcome(one, estimate, p, smallest)
    return found


def _values(measure: Measure, side: Sequence[Run]) -> list[float] | None:
    """Return a value for each run; None if a run has none, or one that is no ratio."""
    values = [measure.value(run) for run in side]
    known = [value for value in values if value is not None and value > 0]
    return known if len(known) == len(side) else None


def _compared(
    measure: Measure,
    a: list[float],
    b: list[float],
    estimate: RatioEstimate,
    smallest: float,
    is_paired: bool,
) -> MeasureComparison:
    runs = min(len(a), len(b))
    found = smallest_found(estimate, runs, is_paired)
    this = abs(float(np.log(estimate.ratio)))
    means = [float(np.exp(np.log(side).mean())) for side in (a, b)]
    return MeasureComparison(
        name=measure.name,
        unit=measure.unit,
        better=measure.better,
        definition=measure.definition,
        is_main=False,
        a=[float(f"{value:.7g}") for value in a],
        b=[float(f"{value:.7g}") for value in b],
        mean_a=float(f"{means[0]:.6g}"),
        mean_b=float(f"{means[1]:.6g}"),
        ratio=float(f"{estimate.ratio:.7g}"),
        low=rounded(estimate.low, 7),
        high=rounded(estimate.high, 7),
        p=rounded(estimate.p, 3),
        p_adjusted=None,
        noise_pct=_percent(estimate.noise),
        found_pct=None if found is None else _percent(found),
        outcome="not tested",
        runs_for_smallest=runs_for(float(np.log1p(smallest)), estimate, is_paired),
        runs_for_this=runs_for(this, estimate, is_paired) if this > 0 else None,
    )


def _percent(logarithm: float) -> float | None:
    return rounded(100 * float(np.expm1(logarithm)), 3)


def _outcome(
    one: MeasureComparison, estimate: RatioEstimate, p: float, smallest: float
) -> Outcome:
    if not np.isfinite(p):
        return "not tested"
    if 1 / (1 + smallest) < estimate.low and estimate.high < 1 + smallest:
        return "equal"
    if p >= _LEVEL:
        return "undecided"
    return "better" if (estimate.ratio > 1) == (one.better == "higher") else "worse"


def _run(run: Run) -> ComparedRun:
    begin = datetime.fromtimestamp(run.begin_ns / 1e9, UTC)
    return ComparedRun(
        name=run.name,
        path=str(run.path or ""),
        begin=begin.strftime("%Y-%m-%dT%H:%M:%SZ"),
        outcome=run.verdict.outcome,
    )


def _notes(a: Sequence[Run], b: Sequence[Run]) -> list[str]:
    notes = []
    for label, side in (("A", a), ("B", b)):
        for run in side:
            if run.verdict.outcome != "passed":
                reason = f" ({run.verdict.reason})" if run.verdict.reason else ""
                notes.append(f"{label}: {run.name} {run.verdict.outcome}{reason}")
            if len(run.lost):
                notes.append(f"{label}: {run.name} lost {len(run.lost):,} samples")
            if run.absences:
                notes.append(f"{label}: a replica left {run.name} for some time")
    rates = [sorted({rate_of(run) for run in side} - {0.0}) for side in (a, b)]
    if rates[0] != rates[1] and all(rates):
        notes.append(
            "The sides have different arrival rates: their latencies are those of"
            " different loads, and their throughput follows the arrivals"
        )
    elif all(rates):
        notes.append(
            "Throughput is set by the arrival rate, which both sides share: compare"
            " latencies, or find the sustained rate of each side"
            " (mlperf-sut campaign scaling)"
        )
    sizes = {run.size for run in [*a, *b]}
    if len(sizes) > 1:
        notes.append(
            "The sides have different numbers of replicas: this is no efficiency of"
            " scaling; `mlperf-sut report` on the same runs gives that"
        )
    return notes
