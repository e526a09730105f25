"""What starting cost, and what it would have cost the run."""

import numpy as np

from record.json_types import Json
from record.structs import ReplicaRecord
from report.figures import Section, figure, table
from report.findings.quality import first_sample, first_sample_penalty
from report.reading.run import Run
from report.statistics.blocks import ALONE, overlap
from report.statistics.numbers import ratio, rounded


def cold_start(run: Run) -> Section:
    """Return load, compile and warm-up times and first against warm requests."""
    records = run.replicas
    start = max((r.load_s + r.warmup_s for r in records), default=0.0)
    return {
        "start_to_ready": figure(
            rounded(start) if records else None,
            "s",
            "load and warm-up of the slowest replica; all start together",
        ),
        "cost_if_measured": figure(
            ratio(100 * start, run.wall_s) if records else None,
            "%",
            "start to ready / length of the run: what the start would have added to the"
            " run, had it been measured",
        ),
        "cold_requests_if_measured": figure(
            rounded(
                sum(max(0.0, r.first_request_s - r.last_request_s) for r in records)
            )
            if records
            else None,
            "s",
            "first less last warm-up request where it was slower, summed over replicas:"
            " what the warm-up kept out of the measured latencies",
        ),
        "nodes": table(
            [
                ("node", "", "host"),
                (
                    "first sample",
                    "%",
                    "(first sample's service - fastest) / fastest; empty where samples"
                    " overlapped: then latency depends on the batch",
                ),
                (
                    "first sample per token",
                    "%",
                    "its time per output token over the median of the later samples",
                ),
            ],
            [[node, *_first(run, node)] for node in run.nodes],
        ),
        "replicas": table(
            [
                ("node", "", "host"),
                ("replica", "", "its number"),
                ("load", "s", "building the engine: weights, compilation, capture"),
                ("compile", "s", "compilation alone, where the engine reports it"),
                ("warm-up", "s", "all warm-up requests"),
                ("first request", "ms", "first warm-up request"),
                ("warm request", "ms", "last warm-up request, of the same shape"),
                (
                    "penalty",
                    "%",
                    "(first - warm) / warm; 0 where the first was not slower",
                ),
            ],
            [_row(record) for record in records],
        ),
    }


def _first(run: Run, node: str) -> list[Json]:
    own = [r.replica for r in run.replicas if r.node == node]
    groups = np.where(np.isin(run.done.replica, own), 0, -1)
    if overlap(run.done, groups) > len(own) * ALONE:
        return [None, None]
    first = first_sample(run, own)
    return [
        rounded(first_sample_penalty(run, own), 4),
        rounded(100 * first.excess, 4) if first is not None else None,
    ]


def _row(record: ReplicaRecord) -> list[Json]:
    first, warm = record.first_request_s, record.last_request_s
    return [
        record.node,
        record.replica,
        rounded(record.load_s),
        rounded(record.compile_s if record.compile_s is not None else np.nan),
        rounded(record.warmup_s),
        rounded(1000 * first),
        rounded(1000 * warm),
        ratio(100 * max(0.0, first - warm), warm),
    ]
