"""What starting cost, and what it would have cost the run."""

import numpy as np

from record.json_types import Json
from record.structs import ReplicaRecord
from report.figures import Section, figure, table
from report.findings.quality import first_sample_penalty
from report.numbers import ratio, rounded
from report.run import Run


def cold_start(run: Run) -> Section:
    """Return load, compile and warm-up times and first against warm requests."""
    records = run.replicas
    start = max((r.load_s + r.warmup_s for r in records), default=0.0)
    return {
        "start_to_ready": figure(
            rounded(start) if records else None,
            "s",
            "load and warm-up of the slowest replica; all start at once",
        ),
        "cost_if_measured": figure(
            ratio(100 * start, run.wall_s) if records else None,
            "%",
            "start to ready / length of the run: what it would have added",
        ),
        "cold_requests_if_measured": figure(
            rounded(
                sum(max(0.0, r.first_request_s - r.last_request_s) for r in records)
            )
            if records
            else None,
            "s",
            "first less last warm-up request, summed over replicas: what first requests"
            " would have added to latencies",
        ),
        "nodes": table(
            [
                ("node", "", "host"),
                ("first sample", "%", "(first sample's service - fastest) / fastest"),
            ],
            [[node, rounded(_penalty(run, node), 4)] for node in run.nodes],
        ),
        "replicas": table(
            [
                ("node", "", "host"),
                ("replica", "", "its number"),
                ("load", "s", "building the engine: weights, compilation, capture"),
                ("compile", "s", "compilation alone, where the engine tells"),
                ("warm-up", "s", "all warm-up requests"),
                ("first request", "ms", "first warm-up request"),
                ("warm request", "ms", "last warm-up request, of the same shape"),
                ("penalty", "%", "(first - warm) / warm"),
            ],
            [_row(record) for record in records],
        ),
    }


def _penalty(run: Run, node: str) -> float | None:
    own = [r.replica for r in run.replicas if r.node == node]
    return first_sample_penalty(run, own)


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
        ratio(100 * (first - warm), warm),
    ]
