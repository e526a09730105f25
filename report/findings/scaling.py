"""Findings on several sizes together: efficiency, and unequal conditions."""

from collections.abc import Iterator, Sequence

import numpy as np

from report.figures import figure
from report.findings.finding import Finding, Found, Recommendation
from report.reading.run import Run
from report.statistics.rates import representative_runs
from report.statistics.sizes import SizeScaling, by_size, work_parts
from report.wording import NOT_RECORDED, count

_POOR = 0.9


def scaling_findings(runs: Sequence[Run], rows: list[SizeScaling]) -> Iterator[Found]:
    """Yield sizes that scale badly, and sizes that cannot be compared fairly."""
    sizes = by_size(runs)
    if len(sizes) < 2:
        return
    yield from _different_conditions(sizes)
    for row in rows:
        if row.metric.main:
            yield from _efficiency(row, sizes)


def _different_conditions(sizes: dict[int, list[Run]]) -> Iterator[Found]:
    base = next(iter(sizes))
    own = _conditions(sizes[base][0])
    for size, runs in list(sizes.items())[1:]:
        other = _conditions(runs[0])
        different = [
            f"{name}: {own[name]} at {count(base, 'replica')}, {other[name]} at"
            f" {count(size, 'replica')}"
            for name in own
            if own[name] != other[name]
        ]
        if different:
            yield Found(
                finding=Finding(
                    code="scaling.heterogeneous",
                    severity="warning",
                    title=f"Runs with {count(size, 'replica')} had other conditions"
                    f" than runs with {count(base, 'replica')}",
                    where=[f"size {size}"],
                    evidence=f"{'; '.join(different)}.",
                    cause="The sizes share one host, or they were set up differently."
                    " The efficiency includes this difference.",
                    measure=f"Make a run with {count(base, 'replica')} under the"
                    f" conditions of the runs with {count(size, 'replica')}.",
                )
            )


def _conditions(run: Run) -> dict[str, str]:
    """Return the conditions of a replica that should not depend on the size."""
    record = run.replicas[0]
    cores = [len(r.cpus) for r in run.replicas]
    return {
        "cores per replica": f"{np.mean(cores):g}",
        "device": record.devices[0].rpartition(" #")[0] or record.devices[0]
        if record.devices
        else "",
        "model": run.config.model.name,
        "data set": run.config.dataset.name,
        "scenario": run.settings.scenario,
        "engine settings": ", ".join(
            f"{k}={v}" for k, v in sorted(record.engine.items()) if k != "build_s"
        ),
        "versions": ", ".join(f"{k} {v}" for k, v in sorted(record.versions.items())),
    }


def _cause(sizes: dict[int, list[Run]], size: int) -> str:
    """Return which part of the efficiency was lost, and what the hosts show."""
    own, base = (work_parts(representative_runs(sizes[n])) for n in (size, 1))
    if own is None or base is None:
        return NOT_RECORDED
    time, speed = own[0] / base[0], own[1] / base[1]
    text = (
        f"Compared with the single replica, replicas had work for {time:.1%} of the"
        f" time and reached {speed:.1%} of the speed while they worked:"
        f" {time:.1%} x {speed:.1%} = {time * speed:.1%}."
    )
    cores = [_processor_time(sizes[n]) for n in (size, 1)]
    if speed < time and cores[0] is not None and cores[1] is not None:
        text += (
            f" The process of a replica used {cores[0]:.0f}% of a core; that of the"
            f" single replica used {cores[1]:.0f}%."
        )
        if cores[0] < _POOR * cores[1]:
            text += (
                " Replicas shared the host's processors with each other or with other"
                " work."
            )
    return text


def _processor_time(runs: list[Run]) -> float | None:
    """Return the mean processor time of a replica in percent of one core."""
    values = [
        run.measured.hosts.of(record.replica, "process_cpu_pct")
        for run in runs
        for record in run.replicas
    ]
    known = [float(own.mean()) for own in values if len(own)]
    return float(np.mean(known)) if known else None


def _interval(low: float, high: float) -> str:
    if np.isnan(low):
        return f"at most {high:.1%} (95% confidence; the lower end is unknown)"
    return f"95% interval {low:.1%} to {high:.1%}"


def _efficiency(row: SizeScaling, sizes: dict[int, list[Run]]) -> Iterator[Found]:
    share, name = row.efficiency, count(row.size, "replica")
    if row.own is None:
        yield Found(
            finding=Finding(
                code="scaling.none",
                severity="critical",
                title=f"No run with {name} gives a result",
                where=[f"size {row.size}"],
                evidence="No run completed a sample, or no run met the latency limits.",
                cause="The table of runs shows the outcome of each run.",
            )
        )
    elif share is not None and row.size > 1 and share.high < 1:
        assert row.theoretical is not None
        poor = share.high < _POOR
        code = "scaling.poor" if poor else "scaling.sublinear"
        yield Found(
            finding=Finding(
                code=code,
                severity="warning" if poor else "note",
                title=f"{name} reach {share.value:.1%} of {row.size} times one replica",
                where=[f"size {row.size}"],
                evidence=f"{row.own.value:,.4g} of {row.theoretical:,.4g}"
                f" {row.metric.unit}; {_interval(share.low, share.high)}.",
                cause=_cause(sizes, row.size),
            ),
            advice=Recommendation(
                finding=code,
                where=[f"size {row.size}"],
                text="reduce the larger of the two losses first: time without work, or"
                " lower speed while working",
                estimate=figure(
                    round(row.theoretical - row.own.value, 4),
                    row.metric.unit,
                    "theoretical - actual: what linear scaling would add",
                ),
            ),
        )
