"""Tables of the runs of a campaign, and of the rates that it found."""

from collections.abc import Sequence
from dataclasses import dataclass

from base.percentiles import loadgen_percentile
from record.campaign import Campaign, CampaignRun, CampaignSize
from record.structs import Json
from report.figures import Column, Table, table
from report.reading.run import Run
from report.reading.samples import FloatArray
from report.statistics.numbers import MS, mean, rounded
from report.statistics.rates import arrived_per_s, keeps_limits, rate_of

RATES: list[Column[CampaignSize]] = [
    Column("replicas", "", "size", lambda size: size.replicas),
    Column(
        "sustained rate",
        "queries/s",
        "arrival rate that every confirming run sustained: limits met, queue not"
        " growing, run long enough; empty if none was found",
        lambda size: rounded(size.sustained_qps),
    ),
    Column(
        "VALID rate",
        "queries/s",
        "highest arrival rate of any run that LoadGen calls VALID, however short",
        lambda size: rounded(size.valid_qps),
    ),
    Column(
        "lowest",
        "queries/s",
        "95% interval of the highest rate in the long run: lower end; empty where no"
        " search forecast it",
        lambda size: rounded(size.low_qps),
    ),
    Column(
        "highest",
        "queries/s",
        "95% interval of the highest rate in the long run: upper end",
        lambda size: rounded(size.high_qps),
    ),
    Column(
        "limiting metric",
        "",
        "the limit with the least headroom at the sustained rate",
        lambda size: size.limiting,
    ),
    Column(
        "headroom",
        "%",
        "share of that limit that is left",
        lambda size: None if size.headroom is None else rounded(100 * size.headroom),
    ),
    Column("runs", "", "runs that confirm the sustained rate", lambda size: size.runs),
    Column("reason", "", "why no rate was found", lambda size: size.reason or None),
]


@dataclass(slots=True)
class _Run:
    run: Run
    made: CampaignRun | None
    """Record of the campaign that made the run."""

    @property
    def server(self) -> bool:
        return self.run.settings.loadgen_scenario == "Server"


def runs_table(runs: Sequence[Run], campaign: Campaign | None) -> Table:
    """Return the table of all runs; with their phase if a campaign made them."""
    made = {one.run: one for one in (campaign.runs if campaign else [])}
    return table(_RUNS, [_Run(run, made.get(run.name)) for run in runs])


def _p99(values: FloatArray) -> Json:
    found = loadgen_percentile(values, 0.99)
    return None if found is None else rounded(found / MS)


_RUNS: list[Column[_Run]] = [
    Column("run", "", "name of its folder", lambda one: one.run.name),
    Column("replicas", "", "size", lambda one: one.run.size),
    Column(
        "rate",
        "queries/s",
        "arrival rate that LoadGen was set to (Server)",
        lambda one: rounded(rate_of(one.run)) if one.server else None,
        "rate that was set",
    ),
    Column(
        "arrived",
        "queries/s",
        "queries / first to last arrival (Server)",
        lambda one: rounded(arrived_per_s(one.run)) if one.server else None,
        "arrival rate",
    ),
    Column("outcome", "", "verdict of the gate", lambda one: one.run.verdict.outcome),
    Column("completed", "samples", "completed samples", lambda one: len(one.run.done)),
    Column("lost", "samples", "lost samples", lambda one: len(one.run.lost)),
    Column(
        "wall time",
        "s",
        "first issue to last completion",
        lambda one: rounded(one.run.wall_s),
    ),
    Column(
        "samples/s",
        "samples/s",
        "completed samples / wall time",
        lambda one: rounded(one.run.samples_per_s),
    ),
    Column(
        "tokens/s",
        "tokens/s",
        "output tokens / wall time",
        lambda one: rounded(one.run.tokens_per_s),
    ),
    Column(
        "service",
        "ms",
        "mean service latency; empty for Offline, which issues all samples at once",
        lambda one: mean(one.run.done.service_ns, MS) if one.run.streaming else None,
        "service latency",
    ),
    Column(
        "TTFT p99",
        "ms",
        "from the issue, computed as in LoadGen",
        lambda one: _p99(one.run.done.ttft_ns),
    ),
    Column(
        "TPOT p99",
        "ms",
        "in the order of LoadGen",
        lambda one: _p99(one.run.done.tpot_ns),
    ),
    Column(
        "met limits",
        "",
        "Server: whether the run shows that its rate is sustained",
        lambda one: keeps_limits(one.run) if one.server else None,
    ),
    Column(
        "phase",
        "",
        "phase of the campaign: repeat, search or confirm",
        lambda one: one.made.phase if one.made else None,
    ),
    Column(
        "reason",
        "",
        "why the campaign does not use the run",
        lambda one: (one.made.reason or None) if one.made else None,
    ),
]
