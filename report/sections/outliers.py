"""The table of the slowest samples of a run."""

from dataclasses import dataclass

import numpy as np

from report.figures import Column, Table, table
from report.reading.run import Run
from report.reading.samples import Samples
from report.statistics.breakdown import DISPATCH_WAIT, ISSUE_DELAY, latency_breakdown
from report.statistics.numbers import MS, known, rounded

_MOST = 10
"""Highest number of samples in the table."""


@dataclass(slots=True)
class _Outlier:
    run: Run
    sample: Samples
    """The one sample."""
    median_ns: float
    """Median service latency of the run."""

    @property
    def replica(self) -> int:
        return int(self.sample.replica[0])

    @property
    def longest_stage(self) -> str | None:
        stages = {
            name: float(values[0])
            for name, values in latency_breakdown(self.run, self.sample).items()
            if not np.isnan(values[0]) and name not in (DISPATCH_WAIT, ISSUE_DELAY)
        }
        return max(stages, key=lambda name: stages[name]) if stages else None


_COLUMNS: list[Column[_Outlier]] = [
    Column(
        "sample",
        "seq",
        "sequence number in order of issue; the slowest first, ten at most",
        lambda one: int(one.sample.seq[0]),
    ),
    Column("node", "", "host", lambda one: one.run.node_of.get(one.replica)),
    Column("replica", "", "number of the replica", lambda one: one.replica),
    Column(
        "service",
        "ms",
        "service latency, above the upper quartile by 3 interquartile ranges",
        lambda one: rounded(one.sample.service_ns[0] / MS),
    ),
    Column(
        "against the median",
        "times",
        "service latency / median service latency",
        lambda one: rounded(one.sample.service_ns[0] / one.median_ns, 3),
        "times the median",
    ),
    Column(
        "at",
        "s",
        "completion, since the first issue",
        lambda one: rounded((one.sample.completed[0] - one.run.begin_ns) / 1e9),
        "completed at",
    ),
    Column("prompt", "tokens", "length", lambda one: int(one.sample.prompt_tokens[0])),
    Column("answer", "tokens", "length", lambda one: int(one.sample.output_tokens[0])),
    Column("attempt", "", "1 is the first", lambda one: int(one.sample.attempt[0])),
    Column(
        "longest stage", "", "longest stage of latency", lambda one: one.longest_stage
    ),
]


def outliers(run: Run) -> Table:
    """Return the samples with the longest service latencies of a run."""
    service = run.done.service_ns
    rows: list[_Outlier] = []
    if len(known(service)) >= 4:
        low, median, high = np.nanpercentile(service, (25, 50, 75))
        far = np.flatnonzero(service > high + 3 * (high - low))
        far = far[np.argsort(-service[far])][:_MOST]
        rows = [
            _Outlier(run, run.done.where(np.array([index])), float(median))
            for index in far.tolist()
        ]
    return table(_COLUMNS, rows)
