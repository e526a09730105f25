"""All findings of a run, gravest first."""

import numpy as np

from report.comparison import Comparison
from report.figures import Figure, figure
from report.findings.arrivals import arrivals
from report.findings.cause import Cause
from report.findings.causes import causes
from report.findings.clock import clock
from report.findings.finding import ORDER, Finding, Found, Recommendation, Severity
from report.findings.flow import flow
from report.findings.losses import losses
from report.findings.neighbours import neighbours
from report.findings.quality import quality
from report.findings.scene import Likeness, Scene, likeness, mean_of, scene
from report.findings.setups import setups
from report.findings.slow import WORDS, Slow, find_slow
from report.run import Run
from report.timeline.analysis import Analysis
from report.timeline.findings import explained

_CRITICAL = 0.2
_WARNING = 0.075


def collect(
    run: Run, analysis: Analysis, replicas: Comparison, nodes: Comparison
) -> list[Found]:
    """Return what a run shows, gravest first.

    Args:
        run: to look at.
        analysis: of the run over time. While the queues of an episode of all replicas
            drain, differences between replicas mean nothing.
        replicas: of the run against each other.
        nodes: likewise.
    """
    slow = [
        one
        for one in find_slow(run, replicas, nodes)
        if not explained(one.begin_s, one.end_s, analysis)
    ]
    places = [scene(run, one, slow) for one in slow]
    why = [causes(view) for view in places]
    found = [
        *clock(run),
        *losses(run),
        *quality(run, nodes),
        *(_slow_place(view, cause) for view, cause in zip(places, why, strict=True)),
        *flow(run),
        *arrivals(run),
        *neighbours(run, _told(slow, why, "neighbour")),
        *setups(run, _told(slow, why, "unlike")),
    ]
    return sorted(found, key=lambda one: ORDER.index(one.finding.severity))


def _told(slow: list[Slow], why: list[list[Cause]], code: str) -> set[int]:
    """Return the replicas that a cause was told of."""
    return {
        replica
        for one, found in zip(slow, why, strict=True)
        if any(cause.code == code for cause in found)
        for replica in one.replicas
    }


def _slow_place(view: Scene, why: list[Cause]) -> Found:
    slow = view.slow
    code = f"slow.{why[0].code if why else 'unknown'}"
    same = None if why else likeness(view)
    span = (
        "throughout the run"
        if slow.whole
        else f"from {slow.begin_s:,.0f} to {slow.end_s:,.0f} s"
    )
    others = "; ".join(
        f"{WORDS[measure]} {value:+.1%}"
        for measure, value in slow.by_measure.items()
        if measure != slow.measure
    )
    finding = Finding(
        code=code,
        severity=_severity(slow),
        title=f"{slow.place[0].upper()}{slow.place[1:]} was {slow.slowdown:.0%} slower"
        f" than its peers {span}",
        where=[slow.place],
        evidence=f"{WORDS[slow.measure]} by block of time against the median of the"
        f" others, {slow.overall:+.1%} over the whole run in time per unit of work;"
        f" p {'< 1e-9' if slow.p < 1e-9 else format(slow.p, '.1g')}"
        + (f"; {others}" if others else ""),
        cause="; also, ".join(cause.text for cause in why)
        if same is None
        else _unknown(same),
        measure="" if same is None else _measure(same.missing),
    )
    return Found(
        finding=finding,
        advice=Recommendation(
            finding=code,
            where=[slow.place],
            text=_advice(why[0] if why else None, slow),
            estimate=_estimate(view),
        ),
    )


def _severity(slow: Slow) -> Severity:
    if slow.overall >= _CRITICAL:
        return "critical"
    return "warning" if slow.overall >= _WARNING else "note"


def _unknown(same: Likeness) -> str:
    """Return what was compared where no cause was found, medians over the span."""
    return "; ".join(
        [
            "not shown by the data",
            *([f"like its peers: {', '.join(same.alike)}"] if same.alike else []),
            *(
                [f"different from them: {', '.join(same.different)}"]
                if same.different
                else []
            ),
        ]
    )


def _measure(missing: list[str]) -> str:
    if missing:
        return f"record {', '.join(missing)}: this run did not"
    return (
        "the same samples on this place alone and on a peer alone; then swap the"
        " devices to tell device from host"
    )


def _advice(cause: Cause | None, slow: Slow) -> str:
    if cause is not None:
        return f"{slow.place}: {cause.advice}"
    return f"{slow.place}: find the cause first; until then leave it out or expect it"


def _estimate(view: Scene) -> Figure:
    """Return what the place would gain, had it kept up with its peers over the run."""
    run, slow = view.run, view.slow
    own, rest = (
        run.done.where(np.isin(run.done.replica, who))
        for who in (slow.replicas, view.peers)
    )
    if not run.streaming:
        tokens = [
            float(done.output_tokens.sum()) / max(1, len(who))
            for done, who in ((own, slow.replicas), (rest, view.peers))
        ]
        gain = (tokens[1] - tokens[0]) * len(slow.replicas) / run.wall_s
        return figure(
            round(gain, 2),
            "tokens/s",
            "mean tokens/s of a peer less those of its own replicas, over the run:"
            " more throughput, had it kept up with its peers",
        )
    saved = mean_of(own.service_ns) - mean_of(rest.service_ns)
    return figure(
        round(saved / 1e6, 2) if np.isfinite(saved) else None,
        "ms",
        "its mean service latency less that of its peers, over the run: sooner for each"
        " of its samples, had it kept up with them",
    )
