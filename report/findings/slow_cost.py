"""How much slower replicas were than their peers, and what that cost.

Titles, evidence and estimates come from these ratios of totals, so a gain is what its
definition says. Blocks of time decide only whether a difference is noise.
"""

import numpy as np

from report.figures import Figure, figure
from report.reading.run import Run
from report.reading.samples import FloatArray
from report.statistics.comparison import MEANS, RATES

Span = tuple[float, float]
"""Begin and end in s since the first issue."""


def slowdown_ratio(measure: str, effect: FloatArray | float) -> FloatArray:
    """Return the additional time per unit of work, from a ratio of the measure - 1."""
    values = np.asarray(effect, float)
    if measure in RATES:
        return np.asarray(1 / np.maximum(1 + values, 1e-9) - 1)
    return values


def slowdown_over(
    run: Run, measure: str, own: list[int], peers: list[int], span: Span
) -> float:
    """Return the additional time per unit of work compared with the peers; 0.1: 10%.

    A rate: mean work/s of a peer / that of its own replicas, less 1. A mean: that of
    its own samples that were completed in the span / that of the peers', less 1. NaN if
    one of them did nothing.

    Args:
        run: the run.
        measure: one of `RATES` or `MEANS`.
        own: the slow replicas.
        peers: the replicas to compare with.
        span: the time to look at.
    """
    here, there = (_mean_of(run, measure, replicas, span) for replicas in (own, peers))
    if not (here > 0 and there > 0):
        return float("nan")
    return there / here - 1 if measure in RATES else here / there - 1


def gain(run: Run, own: list[int], peers: list[int], span: Span) -> Figure:
    """Return the gain if the slow replicas had been as fast as their peers.

    Args:
        run: the run.
        own: the slow replicas.
        peers: the replicas to compare with.
        span: the time in which all replicas worked.
    """
    measure = "service" if run.streaming else "tokens_per_s"
    here, there = (_mean_of(run, measure, replicas, span) for replicas in (own, peers))
    if run.streaming:
        saved = (here - there) / 1e6
        return figure(
            round(saved, 2) if np.isfinite(saved) else None,
            "ms",
            "its mean service latency minus that of its peers, over the run: the time"
            " that each of its samples would save at the speed of its peers",
        )
    more = (there - here) * len(own)
    return figure(
        round(more, 2) if np.isfinite(more) else None,
        "tokens/s",
        "(mean tokens/s of a peer - mean tokens/s of a slow replica) x number of slow"
        " replicas, over the time in which all replicas worked: additional throughput"
        " at the speed of the peers",
    )


def _mean_of(run: Run, measure: str, replicas: list[int], span: Span) -> float:
    """Return the mean of a measure over these replicas' samples in a span.

    Of a rate: the mean over the replicas of work/s while each was part of the run. The
    work of a sample is spread over the time from its prefill to its completion.
    """
    begin, end = (run.begin_ns + seconds * 1e9 for seconds in span)
    if measure in MEANS:
        values = [
            MEANS[measure](own.where((own.completed >= begin) & (own.completed <= end)))
            for own in (run.by_replica[replica] for replica in replicas)
        ]
        joined = np.concatenate(values) if values else np.array([])
        known = joined[~np.isnan(joined)]
        return float(known.mean()) if len(known) else float("nan")
    rates: list[float] = []
    for replica in replicas:
        own = run.by_replica[replica]
        started = own.started.astype(float)
        length = np.maximum(own.completed - started, 1.0)
        share = np.diff(
            [np.clip((edge - started) / length, 0, 1) for edge in (begin, end)], axis=0
        )[0]
        away = sum(
            max(0.0, min(last, end) - max(first, begin))
            for first, last in run.away(replica)
        )
        present = (end - begin - away) / 1e9
        if present > 0:
            rates.append(float((share * RATES[measure](own)).sum()) / present)
    return float(np.mean(rates)) if rates else float("nan")
