"""All findings of a run, the most severe first."""

import numpy as np

from report.figures import Figure, figure
from report.findings.causes import causes
from report.findings.circumstances import neighbors, setups
from report.findings.finding import (
    ORDER,
    Cause,
    Finding,
    Found,
    Recommendation,
    Severity,
)
from report.findings.flow import flow
from report.findings.hardware import hardware
from report.findings.losses import losses
from report.findings.quality import quality
from report.findings.slow_context import (
    PeerComparison,
    SlowContext,
    compare_with_peers,
    mean_of,
    slow_context,
)
from report.findings.slowdowns import MEASURES, Slowdown, find_slowdowns
from report.findings.timeline import explained
from report.findings.timing import arrivals, timing
from report.reading.run import Run
from report.statistics.comparison import GroupComparison
from report.timeline.analysis import Analysis
from report.wording import NOT_RECORDED, p_value

_CRITICAL = 0.2
_WARNING = 0.075


def collect(
    run: Run, analysis: Analysis, replicas: GroupComparison, nodes: GroupComparison
) -> list[Found]:
    """Return the findings of a run, the most severe first.

    Args:
        run: the run to look at.
        analysis: the run over time. While the queues of an episode of all replicas
            drain, differences between replicas mean nothing.
        replicas: its replicas, compared.
        nodes: its nodes, compared.
    """
    slow = [
        one
        for one in find_slowdowns(run, replicas, nodes)
        if not explained(one.begin_s, one.end_s, analysis)
    ]
    contexts = [slow_context(run, one, slow) for one in slow]
    why = [causes(context) for context in contexts]
    found = [
        *timing(run),
        *losses(run),
        *quality(run, nodes),
        *(slowdown(one, own) for one, own in zip(contexts, why, strict=True)),
        *hardware(run),
        *flow(run),
        *arrivals(run),
        *neighbors(run, _reported(slow, why, "neighbor")),
        *setups(run, _reported(slow, why, "heterogeneous")),
    ]
    return sorted(found, key=lambda one: ORDER.index(one.finding.severity))


def _reported(slow: list[Slowdown], why: list[list[Cause]], code: str) -> set[int]:
    """Return the slow replicas with this cause."""
    return {
        replica
        for one, found in zip(slow, why, strict=True)
        if any(cause.code == code for cause in found)
        for replica in one.replicas
    }


def slowdown(context: SlowContext, why: list[Cause]) -> Found:
    """Return the finding of a slowdown with its causes, the most likely first."""
    slow = context.slow
    code = f"slow.{why[0].code if why else 'unknown'}"
    compared = None if why else compare_with_peers(context)
    span = (
        "throughout the run"
        if slow.whole
        else f"from {slow.begin_s:,.0f} to {slow.end_s:,.0f} s"
    )
    others = ", ".join(
        f"{MEASURES[measure]} {value:+.1%}"
        for measure, value in slow.by_measure.items()
        if measure != slow.measure
    )
    return Found(
        finding=Finding(
            code=code,
            severity=_severity(slow),
            title=f"{slow.name} was {slow.in_span:.0%} slower than its peers {span}",
            where=[slow.location],
            evidence=f"Over the whole run its {MEASURES[slow.measure]} was"
            f" {slow.overall:.1%} above the median of the other {slow.level}s, compared"
            f" in blocks of time ({p_value(slow.p)})."
            + (f" Other measures: {others}." if others else ""),
            cause=" Also: ".join(cause.text for cause in why)
            if compared is None
            else _unknown(compared),
            measure="" if compared is None else _measure(compared.missing),
        ),
        advice=Recommendation(
            finding=code,
            where=[slow.location],
            text=_advice(why[0] if why else None, slow),
            estimate=_estimate(context),
        ),
    )


def _severity(slow: Slowdown) -> Severity:
    if slow.overall >= _CRITICAL:
        return "critical"
    return "warning" if slow.overall >= _WARNING else "note"


def _unknown(compared: PeerComparison) -> str:
    """Return what was compared if no cause was found, with medians over the span."""
    text = NOT_RECORDED
    if compared.similar:
        text += f" Similar to its peers: {', '.join(compared.similar)}."
    if compared.different:
        text += f" Different from its peers: {', '.join(compared.different)}."
    return text


def _measure(missing: list[str]) -> str:
    if missing:
        return f"Record {', '.join(missing)}; this run did not."
    return (
        "Run the same samples on it alone and on one of its peers alone. Then"
        " swap the devices to separate the device from its host."
    )


def _advice(cause: Cause | None, slow: Slowdown) -> str:
    if cause is not None:
        return f"{slow.name}: {cause.advice}"
    return f"{slow.name}: find the cause; until then run without it"


def _estimate(context: SlowContext) -> Figure:
    """Return the gain if the location were as fast as its peers over the run."""
    run, slow = context.run, context.slow
    own, peers = (
        run.done.where(np.isin(run.done.replica, replicas))
        for replicas in (slow.replicas, context.peers)
    )
    if not run.streaming:
        tokens = [
            float(done.output_tokens.sum()) / max(1, len(replicas))
            for done, replicas in ((own, slow.replicas), (peers, context.peers))
        ]
        gain = (tokens[1] - tokens[0]) * len(slow.replicas) / run.wall_s
        return figure(
            round(gain, 2),
            "tokens/s",
            "mean tokens/s of a peer less that of its own replicas, over the run:"
            " additional throughput if it were as fast as its peers",
        )
    saved = mean_of(own.service_ns) - mean_of(peers.service_ns)
    return figure(
        round(saved / 1e6, 2) if np.isfinite(saved) else None,
        "ms",
        "its mean service latency less that of its peers, over the run: saved time of"
        " each of its samples if it were as fast as its peers",
    )
