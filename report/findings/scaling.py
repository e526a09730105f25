"""What several sizes show together."""

from collections.abc import Iterator, Sequence

import numpy as np

from report.figures import figure
from report.findings.finding import Finding, Found, Recommendation
from report.reading.run import Run
from report.statistics.rates import counted
from report.statistics.sizes import Scaled, by_size, work_parts

_LEAST = 0.9


def scaling_findings(runs: Sequence[Run], rows: list[Scaled]) -> Iterator[Found]:
    """Yield what speaks against linear scaling, or against the comparison itself."""
    sizes = by_size(runs)
    if len(sizes) < 2:
        return
    yield from _unlike(sizes)
    for row in rows:
        yield from _poor(row, sizes)


def _unlike(sizes: dict[int, list[Run]]) -> Iterator[Found]:
    base = next(iter(sizes))
    told = _resources(sizes[base][0])
    for size, runs in list(sizes.items())[1:]:
        other = _resources(runs[0])
        unlike = [
            f"{name} {other[name]} against {told[name]}"
            for name in told
            if told[name] != other[name]
        ]
        if unlike:
            yield Found(
                finding=Finding(
                    code="scaling.unlike",
                    severity="warning",
                    title=f"Replicas of size {size} are not like those of size {base}",
                    where=[f"size {size}"],
                    evidence="; ".join(unlike),
                    cause="the sizes share the same host or were set up differently:"
                    " their ratio holds this difference too",
                    measure=f"a run of size {base} with what a replica of size {size}"
                    " has",
                )
            )


def _resources(run: Run) -> dict[str, str]:
    """Return what a replica of the run had, as far as it should not depend on size."""
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


def _loss(sizes: dict[int, list[Run]], size: int) -> str:
    """Return which part of efficiency was lost, and what the host says to it."""
    own, base = work_parts(counted(sizes[size])), work_parts(counted(sizes[1]))
    if own is None or base is None:
        return "not shown by the record"
    idle, slow = own[0] / base[0], own[1] / base[1]
    text = (
        f"replicas had work for {idle:.1%} of the time that the single one had, and"
        f" were {slow:.1%} as fast while working: {idle:.1%} x {slow:.1%} ="
        f" {idle * slow:.1%}"
    )
    cores = [_processor_time(sizes[n]) for n in (size, 1)]
    if slow < idle and cores[0] is not None and cores[1] is not None:
        text += (
            f"; the process of each used {cores[0]:.0f}% of a core against"
            f" {cores[1]:.0f}%"
        )
        if cores[0] < _LEAST * cores[1]:
            text += ": they shared the host's processors, with each other or other work"
    return text


def _processor_time(runs: list[Run]) -> float | None:
    """Return the mean processor time of a replica, 100 for one core."""
    values = [
        run.measured.hosts.of(record.replica, "process_cpu_pct")
        for run in runs
        for record in run.replicas
    ]
    told = [float(own.mean()) for own in values if len(own)]
    return float(np.mean(told)) if told else None


def _percent(share: float) -> str:
    return "an unknown end" if np.isnan(share) else f"{share:.1%}"


def _poor(row: Scaled, sizes: dict[int, list[Run]]) -> Iterator[Found]:
    share = row.efficiency
    if not row.metric.main:
        return
    if row.own is None:
        yield Found(
            finding=Finding(
                code="scaling.none",
                severity="critical",
                title=f"No run of size {row.size} counts",
                where=[f"size {row.size}"],
                evidence="no run completed anything, or none kept the latency limits",
                cause="see the outcome of each run in the table of runs",
            )
        )
    elif share is not None and row.size > 1 and share.high < 1:
        assert row.theoretical is not None
        poor = share.high < _LEAST
        code = "scaling.poor" if poor else "scaling.sublinear"
        yield Found(
            finding=Finding(
                code=code,
                severity="warning" if poor else "note",
                title=f"{row.size} replicas reach {share.value:.1%} of"
                f" {row.size} times one",
                where=[f"size {row.size}"],
                evidence=f"{row.own.value:,.4g} of {row.theoretical:,.4g}"
                f" {row.metric.unit}; 95% interval {_percent(share.low)} to"
                f" {_percent(share.high)}",
                cause=_loss(sizes, row.size),
            ),
            advice=Recommendation(
                finding=code,
                where=[f"size {row.size}"],
                text="look first at the larger of the two losses",
                estimate=figure(
                    round(row.theoretical - row.own.value, 4),
                    row.metric.unit,
                    "theoretical less actual: what linear scaling would add",
                ),
            ),
        )
