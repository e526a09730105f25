"""What several sizes show together."""

from collections.abc import Iterator, Sequence

import numpy as np

from report.figures import figure
from report.findings.finding import Finding, Found, Recommendation
from report.run import Run
from report.scaling.sizes import Scaled, by_size

_LEAST = 0.9


def scaling_findings(runs: Sequence[Run], rows: list[Scaled]) -> Iterator[Found]:
    """Yield what speaks against linear scaling, or against the comparison itself."""
    sizes = by_size(runs)
    if len(sizes) < 2:
        return
    yield from _unlike(sizes)
    for row in rows:
        yield from _poor(row)


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


def _poor(row: Scaled) -> Iterator[Found]:
    share = row.efficiency
    if row.metric.name != "samples/s":
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
    elif share is not None and row.size > 1 and share.high < _LEAST:
        assert row.theoretical is not None
        yield Found(
            finding=Finding(
                code="scaling.poor",
                severity="warning",
                title=f"{row.size} replicas reach {share.value:.0%} of"
                f" {row.size} times one",
                where=[f"size {row.size}"],
                evidence=f"{row.own.value:,.4g} of {row.theoretical:,.4g} samples/s;"
                f" 95% interval {share.low:.1%} to {share.high:.1%}",
                cause="the table of losses splits it into time without work and speed"
                " while working",
            ),
            advice=Recommendation(
                finding="scaling.poor",
                where=[f"size {row.size}"],
                text="begin with the larger of the two losses",
                estimate=figure(
                    round(row.theoretical - row.own.value, 4),
                    "samples/s",
                    "theoretical less actual: what linear scaling would add",
                ),
            ),
        )
