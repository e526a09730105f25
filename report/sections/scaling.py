"""The scaling section: each size against the measured baseline of its campaign."""

from collections.abc import Sequence

import numpy as np

from base.percentiles import loadgen_percentile
from record.campaign import Campaign
from record.json_types import Json
from report.figures import Section, Table, figure, table
from report.reading.run import Run
from report.statistics.busy import busy_s
from report.statistics.numbers import MS, mean, ratio, rounded
from report.statistics.rates import arrived_per_s, counted, keeps_limits, rate_of
from report.statistics.sizes import METHOD, Scaled, by_size, scaled, work_parts
from report.statistics.usl import FEWEST_SIZES, Fit, Interval, fit

_NO_BASELINE = "needs runs with one replica of the same campaign: none is given"


def scaling(
    runs: Sequence[Run], subject: Run, campaign: Campaign | None = None
) -> Section:
    """Return throughput of the subject run and, of several sizes, how they scale."""
    sizes, rows = by_size(runs), scaled(runs)
    section: Section = {
        "replicas": figure(subject.size, "replicas", "size of the run described below"),
        "samples_per_s": figure(
            rounded(subject.samples_per_s),
            "samples/s",
            "of that run: completed samples / first issue to last completion",
        ),
        "tokens_per_s": figure(
            rounded(subject.tokens_per_s),
            "tokens/s",
            "of that run: output tokens of completed samples / the same seconds",
        ),
        "wall_time": figure(
            rounded(subject.wall_s), "s", "first issue to last completion"
        ),
        "sum_of_node_rates": figure(
            rounded(sum(_node_rate(subject, node) for node in subject.nodes)),
            "samples/s",
            "each node's completed samples / seconds in which it had work, added up;"
            " above the throughput wherever a node stood idle or lost work",
        ),
        "efficiency": figure(
            _headline(rows, subject),
            "%",
            _efficiency_of(rows) if 1 in sizes else _NO_BASELINE,
        ),
        "sizes": _sizes(rows),
        "losses": _losses(sizes),
        "runs": _runs(runs, campaign),
    }
    if campaign is not None and any(size.valid_qps for size in campaign.sizes):
        section["rates"] = _rates(campaign)
    if len(sizes) > 1:
        section["method"] = figure(METHOD, "", "of the intervals")
    fitted = fitted_law(rows)
    if fitted is not None:
        unit = _main(rows)
        section["law"] = _law(fitted, unit)
        section["forecast"] = _forecast(fitted, unit)
    return section


def fitted_law(rows: list[Scaled]) -> Fit | None:
    """Return the law fitted to samples/s; None below `FEWEST_SIZES` sizes."""
    # A searched rate lies between what was kept and what was missed: both ends count.
    points = [
        (float(row.size), value * end)
        for row in rows
        if row.own is not None and row.metric.main
        for value in row.own.values
        for end in {1.0, row.own.left_open}
        if np.isfinite(end)
    ]
    sizes = {size for size, _ in points}
    if len(sizes) < FEWEST_SIZES:
        return None
    counts, values = np.array(points).T
    largest = int(counts.max())
    return fit(counts, values, [2 * largest, 4 * largest])


def _node_rate(run: Run, node: str) -> float:
    parts = [run.by_replica[r.replica] for r in run.replicas if r.node == node]
    return sum(len(part) / seconds for part in parts if (seconds := busy_s(part)))


def _main(rows: list[Scaled]) -> str:
    return next((row.metric.name for row in rows if row.metric.main), "")


def _efficiency_of(rows: list[Scaled]) -> str:
    name = _main(rows)
    if not name:
        return "none: with one query at a time more replicas cannot add to it"
    return f"{name} / (replicas x {name} of one replica)"


def _headline(rows: list[Scaled], subject: Run) -> float | None:
    for row in (row for row in rows if row.metric.main):
        if row.size == subject.size > 1 and row.efficiency is not None:
            return rounded(100 * row.efficiency.value, 4)
    return None


def _sizes(rows: list[Scaled]) -> Table:
    definitions = {row.metric.name: row.metric.definition for row in rows}
    return table(
        [
            (
                "metric",
                "",
                "; ".join(f"{k}: {what}" for k, what in definitions.items()),
            ),
            ("unit", "", "of the metric"),
            ("replicas", "", "size"),
            (
                "runs",
                "",
                "that count; Server: at the highest rate at which all kept the limits",
            ),
            ("single", "", "measured with one replica, geometric mean"),
            ("theoretical", "", "single x replicas; latency: single"),
            ("actual", "", "geometric mean over runs"),
            ("efficiency", "%", "actual / theoretical; latency: single / actual"),
            ("from", "%", "lower end of its 95% interval"),
            ("to", "%", "upper end of its 95% interval"),
            ("verdict", "", "super-linear only where the whole interval is above 100%"),
        ],
        [_size(row) for row in rows],
    )


def _size(row: Scaled) -> list[Json]:
    share = row.efficiency
    parts = (share.value, share.low, share.high) if share else (None, None, None)
    return [
        row.metric.name,
        row.metric.unit,
        row.size,
        len(row.own.values) if row.own else 0,
        rounded(row.base.value) if row.base else None,
        rounded(row.theoretical),
        rounded(row.own.value) if row.own else None,
        *(None if part is None else rounded(100 * part, 4) for part in parts),
        row.word,
    ]


def _losses(sizes: dict[int, list[Run]]) -> Table:
    """Split efficiency in tokens/s into time with work and speed while working."""
    parts = {size: work_parts(counted(own)) for size, own in sizes.items()}
    base = parts.get(1)
    rows: list[list[Json]] = [
        [
            size,
            rounded(100 * own[0] / base[0], 4),
            rounded(100 * own[1] / base[1], 4),
            rounded(100 * own[0] * own[1] / (base[0] * base[1]), 4),
        ]
        for size, own in parts.items()
        if base is not None and own is not None
    ]
    return table(
        [
            ("replicas", "", "size"),
            (
                "time with work",
                "%",
                "share of the run in which replicas had work, against the baseline's",
            ),
            (
                "speed while working",
                "%",
                "output tokens/s of a replica while it had"
                " work, against the baseline's",
            ),
            ("both", "%", "their product: efficiency in tokens/s"),
        ],
        rows,
    )


def _rates(campaign: Campaign) -> Table:
    return table(
        [
            ("replicas", "", "size"),
            (
                "sustained rate",
                "queries/s",
                "arrivals per second that every confirming run kept up with: limits"
                " kept, queue not growing, run long enough; empty: none was found",
            ),
            (
                "VALID rate",
                "queries/s",
                "highest arrivals per second of any run that LoadGen calls VALID,"
                " however short it was",
            ),
            ("runs", "", "that confirm the sustained rate"),
            ("reason", "", "why no rate was found"),
        ],
        [
            [
                size.replicas,
                rounded(size.sustained_qps),
                rounded(size.valid_qps),
                size.runs,
                size.reason or None,
            ]
            for size in campaign.sizes
        ],
    )


def _runs(runs: Sequence[Run], campaign: Campaign | None) -> Table:
    made = {one.run: one for one in (campaign.runs if campaign else [])}
    rows: list[list[Json]] = []
    for run in runs:
        server = run.settings.loadgen_scenario == "Server"
        rows.append(
            [
                run.name,
                run.size,
                rounded(rate_of(run)) if server else None,
                rounded(arrived_per_s(run)) if server else None,
                run.verdict.outcome,
                len(run.done),
                len(run.lost),
                rounded(run.wall_s),
                rounded(run.samples_per_s),
                rounded(run.tokens_per_s),
                mean(run.done.service_ns, MS) if run.streaming else None,
                _p99(run.done.ttft_ns),
                _p99(run.done.tpot_ns),
                keeps_limits(run) if server else None,
                made[run.name].phase if run.name in made else None,
                (made[run.name].reason or None) if run.name in made else None,
            ]
        )
    return table(
        [
            ("run", "", "name of its folder"),
            ("replicas", "", "its size"),
            ("rate", "queries/s", "arrival rate that LoadGen was told (Server)"),
            ("arrived", "queries/s", "queries / first to last arrival (Server)"),
            ("outcome", "", "verdict of the gate"),
            ("completed", "samples", "completed samples"),
            ("lost", "samples", "lost samples"),
            ("wall time", "s", "first issue to last completion"),
            ("samples/s", "samples/s", "completed / wall time"),
            ("tokens/s", "tokens/s", "output tokens / wall time"),
            ("service", "ms", "mean service latency; empty for Offline's burst"),
            ("TTFT p99", "ms", "as LoadGen orders it, from the issue"),
            ("TPOT p99", "ms", "as LoadGen orders it"),
            (
                "kept limits",
                "",
                "Server: whether the run shows that its rate is sustained",
            ),
            ("phase", "", "of the campaign: repeat, search or confirm"),
            ("reason", "", "why the campaign does not count the run"),
        ],
        rows,
    )


def _p99(values: np.ndarray) -> float | None:
    found = loadgen_percentile(values, 0.99)
    return None if found is None else rounded(found / MS)


def _law(fitted: Fit, unit: str) -> Table:
    return table(
        [
            ("parameter", "", "of the Universal Scalability Law"),
            ("value", "", "least squares over logarithms"),
            ("from", "", "lower end of its 95% interval (bootstrap of residuals)"),
            ("to", "", "upper end of it"),
            ("meaning", "", "what it is"),
        ],
        [
            ["lambda", *_of(fitted.rate), f"{unit} of one replica"],
            ["sigma", *_of(fitted.sigma), "share of work done one after another"],
            ["kappa", *_of(fitted.kappa), "cost of agreement between replicas"],
            [
                "peak",
                rounded(fitted.peak, 3),
                None,
                None,
                "replicas beyond which throughput falls; empty: none found",
            ],
        ],
    )


def _forecast(fitted: Fit, unit: str) -> Table:
    return table(
        [
            ("replicas", "", "a size that was not measured"),
            (unit, unit, "by the fitted law"),
            ("from", unit, "lower end of its 95% interval"),
            ("to", unit, "upper end of it"),
            ("efficiency", "%", "against the law's own single replica"),
        ],
        [
            [size, *_of(value), ratio(100 * value.value, size * fitted.rate.value, 4)]
            for size, value in fitted.forecasts.items()
        ],
    )


def _of(interval: Interval) -> list[Json]:
    return [rounded(v, 4) for v in (interval.value, interval.low, interval.high)]
