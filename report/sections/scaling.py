"""The scaling section: each size compared with the measured single replica."""

from collections.abc import Sequence
from dataclasses import dataclass

from record.campaign import Campaign
from report.figures import Column, Section, Table, figure, table
from report.reading.run import Run
from report.sections.campaign_runs import RATES, runs_table
from report.sections.law import forecast_table, law_table
from report.statistics.busy import busy_s
from report.statistics.numbers import rounded
from report.statistics.rates import (
    representative_runs,
)
from report.statistics.sizes import (
    METHOD,
    SizeScaling,
    by_size,
    fitted_law,
    main_metric,
    scaling_by_size,
    work_parts,
)

_NO_BASELINE = "needs runs of the same campaign with one replica; none is given"


def scaling(
    runs: Sequence[Run], subject: Run, campaign: Campaign | None = None
) -> Section:
    """Return the throughput of the subject run and the scaling of all sizes.

    Args:
        runs: all runs of the report.
        subject: the run that the other sections describe.
        campaign: the campaign that made the runs, if there was one.
    """
    sizes, rows = by_size(runs), scaling_by_size(runs)
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
            "completed samples / seconds with work, summed over nodes; higher than the"
            " throughput if a node was idle or lost samples",
        ),
        "efficiency": figure(
            _efficiency(rows, subject),
            "%",
            _definition(rows) if 1 in sizes else _NO_BASELINE,
        ),
        "sizes": _sizes(rows),
        "losses": _losses(sizes),
        "runs": runs_table(runs, campaign),
    }
    if campaign is not None and any(size.valid_qps for size in campaign.sizes):
        section["rates"] = table(RATES, campaign.sizes)
    if len(sizes) > 1:
        section["method"] = figure(METHOD, "", "method of the intervals")
    fitted = fitted_law(rows)
    if fitted is not None:
        metric = main_metric(rows)
        section["law"] = law_table(fitted, metric)
        section["forecast"] = forecast_table(fitted, metric)
    return section


def _node_rate(run: Run, node: str) -> float:
    parts = [run.by_replica[r.replica] for r in run.replicas if r.node == node]
    return sum(len(part) / seconds for part in parts if (seconds := busy_s(part)))


def _definition(rows: list[SizeScaling]) -> str:
    name = main_metric(rows)
    if not name:
        return "none: with one query at a time more replicas cannot add throughput"
    return f"{name} / (replicas x {name} of one replica)"


def _efficiency(rows: list[SizeScaling], subject: Run) -> float | None:
    for row in (row for row in rows if row.metric.main):
        if row.size == subject.size > 1 and row.efficiency is not None:
            return rounded(100 * row.efficiency.value, 4)
    return None


def _percent(row: SizeScaling, end: str) -> float | None:
    if row.efficiency is None:
        return None
    return rounded(100 * getattr(row.efficiency, end), 4)


def _sizes(rows: list[SizeScaling]) -> Table:
    definitions = {row.metric.name: row.metric.definition for row in rows}
    return table(
        [
            Column[SizeScaling](
                "metric",
                "",
                "; ".join(f"{name}: {text}" for name, text in definitions.items()),
                lambda row: row.metric.name,
            ),
            Column("unit", "", "unit of the metric", lambda row: row.metric.unit),
            Column("replicas", "", "size", lambda row: row.size),
            Column(
                "runs",
                "",
                "runs that give the result; Server: runs at the highest rate at which"
                " all runs met the limits",
                lambda row: len(row.own.values) if row.own else 0,
            ),
            Column(
                "single",
                "",
                "result of one replica: geometric mean over runs",
                lambda row: rounded(row.base.value) if row.base else None,
            ),
            Column(
                "theoretical",
                "",
                "single x replicas; latency: single",
                lambda row: rounded(row.theoretical),
            ),
            Column(
                "actual",
                "",
                "geometric mean over runs",
                lambda row: rounded(row.own.value) if row.own else None,
            ),
            Column(
                "efficiency",
                "%",
                "actual / theoretical; latency: single / actual",
                lambda row: _percent(row, "value"),
            ),
            Column(
                "from",
                "%",
                "lower end of its 95% interval",
                lambda row: _percent(row, "low"),
                "95% interval from",
            ),
            Column(
                "to",
                "%",
                "upper end of its 95% interval",
                lambda row: _percent(row, "high"),
                "95% interval to",
            ),
            Column(
                "verdict",
                "",
                "super-linear only if the whole interval is above 100%",
                lambda row: row.verdict,
            ),
        ],
        rows,
    )


@dataclass(slots=True)
class _Loss:
    """Work of replicas in one size, relative to the single replica."""

    replicas: int
    time: float
    speed: float


_LOSSES: list[Column[_Loss]] = [
    Column("replicas", "", "size", lambda row: row.replicas),
    Column(
        "time with work",
        "%",
        "share of the run in which replicas had work, relative to the single replica",
        lambda row: rounded(100 * row.time, 4),
    ),
    Column(
        "speed while working",
        "%",
        "output tokens/s of a replica while it had work, relative to the single"
        " replica",
        lambda row: rounded(100 * row.speed, 4),
    ),
    Column(
        "both",
        "%",
        "product of both: efficiency in tokens/s",
        lambda row: rounded(100 * row.time * row.speed, 4),
        "time x speed",
    ),
]


def _losses(sizes: dict[int, list[Run]]) -> Table:
    """Split efficiency in tokens/s into time with work and speed while working."""
    parts = {size: work_parts(representative_runs(own)) for size, own in sizes.items()}
    base = parts.get(1)
    return table(
        _LOSSES,
        [
            _Loss(size, own[0] / base[0], own[1] / base[1])
            for size, own in parts.items()
            if base is not None and own is not None
        ],
    )
