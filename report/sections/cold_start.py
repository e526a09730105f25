"""The cold start section: time to start, and its cost if it were measured."""

from dataclasses import dataclass

import numpy as np

from record.structs import ReplicaRecord
from report.figures import Column, Section, figure, table
from report.reading.run import Run
from report.statistics.blocks import ALONE, overlap
from report.statistics.first_sample import first_sample, first_sample_penalty
from report.statistics.numbers import ratio, rounded


def cold_start(run: Run) -> Section:
    """Return load, compile and warm-up times, and first requests against warm ones."""
    records = run.replicas
    start = max((r.load_s + r.warmup_s for r in records), default=0.0)
    return {
        "start_to_ready": figure(
            rounded(start) if records else None,
            "s",
            "load and warm-up of the slowest replica; all replicas start together",
        ),
        "cost_if_measured": figure(
            ratio(100 * start, run.wall_s) if records else None,
            "%",
            "start to ready / length of the run: what the start would have added to the"
            " run if it were measured",
        ),
        "cold_requests_if_measured": figure(
            rounded(
                sum(max(0.0, r.first_request_s - r.last_request_s) for r in records)
            )
            if records
            else None,
            "s",
            "first less last warm-up request if the first was slower, summed over"
            " replicas: what warm-up kept out of the measured latencies",
        ),
        "nodes": table(_NODES, [_first(run, node) for node in run.nodes]),
        "replicas": table(_REPLICAS, records),
    }


@dataclass(slots=True)
class _First:
    """The first sample of a node; None where samples overlapped."""

    node: str
    penalty: float | None = None
    per_token: float | None = None


_NODES: list[Column[_First]] = [
    Column("node", "", "host", lambda one: one.node),
    Column(
        "first sample",
        "%",
        "(service latency of the first sample - fastest) / fastest; empty if samples"
        " overlapped, since latency then depends on the batch",
        lambda one: one.penalty,
        "first sample over the fastest",
    ),
    Column(
        "first sample per token",
        "%",
        "time per output token of the first sample over the median of the later ones",
        lambda one: one.per_token,
    ),
]
_REPLICAS: list[Column[ReplicaRecord]] = [
    Column("node", "", "host", lambda r: r.node),
    Column("replica", "", "number of the replica", lambda r: r.replica),
    Column(
        "load",
        "s",
        "time to build the engine: weights, compilation, graph capture",
        lambda r: rounded(r.load_s),
    ),
    Column(
        "compile",
        "s",
        "compilation only, if the engine reports it",
        lambda r: rounded(r.compile_s),
    ),
    Column("warm-up", "s", "all warm-up requests", lambda r: rounded(r.warmup_s)),
    Column(
        "first request",
        "ms",
        "first warm-up request",
        lambda r: rounded(1000 * r.first_request_s),
    ),
    Column(
        "warm request",
        "ms",
        "last warm-up request, of the same shape",
        lambda r: rounded(1000 * r.last_request_s),
    ),
    Column(
        "penalty",
        "%",
        "(first - warm) / warm; 0 if the first request was not slower",
        lambda r: ratio(
            100 * max(0.0, r.first_request_s - r.last_request_s), r.last_request_s
        ),
        "first over warm request",
    ),
]


def _first(run: Run, node: str) -> _First:
    own = [r.replica for r in run.replicas if r.node == node]
    groups = np.where(np.isin(run.done.replica, own), 0, -1)
    if overlap(run.done, groups) > len(own) * ALONE:
        return _First(node)
    first = first_sample(run, own)
    return _First(
        node,
        rounded(first_sample_penalty(run, own), 4),
        rounded(100 * first.excess, 4) if first is not None else None,
    )
