"""The findings on slow nodes and replicas: one for each cause and time."""

from dataclasses import replace

from report.findings.causes import causes
from report.findings.finding import Cause, Finding, Found, Recommendation, Severity
from report.findings.slow_context import (
    PeerComparison,
    SlowContext,
    compare_with_peers,
    slow_context,
)
from report.findings.slow_cost import Span, gain, slowdown_over
from report.findings.slowdowns import (
    LEAST_OVERALL,
    MEASURES,
    Slowdown,
    find_slowdowns,
)
from report.findings.timeline import explained
from report.reading.run import Run
from report.statistics.comparison import MEANS, GroupComparison
from report.timeline.analysis import Analysis
from report.timeline.episodes import LOAD
from report.wording import NOT_RECORDED, count, name_replicas, p_value

_CRITICAL = 0.2
_WARNING = 0.075
_SAME_TIME = 0.5
"""Share of both spans that two slowdowns have in common if they are one."""
_LAST = 0.75
"""Share of the run after which a drift is measured."""


def slow_contexts(
    run: Run, analysis: Analysis, replicas: GroupComparison, nodes: GroupComparison
) -> list[SlowContext]:
    """Return the slowdowns of a run with what was recorded at that time.

    Replicas that were slow at the same time and by the same cause are one slowdown. One
    that the analysis of time shows too gets the exact begin, end and replicas of that
    episode.

    Args:
        run: the run.
        analysis: the run over time. While the queues of an episode of all replicas
            drain, differences between replicas mean nothing.
        replicas: its replicas, compared.
        nodes: its nodes, compared.
    """
    slow: list[Slowdown] = []
    for one in find_slowdowns(run, replicas, nodes):
        if explained(one.begin_s, one.end_s, analysis):
            continue
        exact = _as_episode(one, analysis)
        if not any(exact.replicas == known.replicas for known in slow):
            slow.append(exact)
    contexts = _measured(run, slow, replicas)
    groups: list[list[SlowContext]] = []
    for context in contexts:
        same = next((own for own in groups if _belong(own[0], context)), None)
        if same is None:
            groups.append([context])
        else:
            same.append(context)
    if all(len(own) == 1 for own in groups):
        return contexts
    merged = [_merged([context.slow for context in own]) for own in groups]
    return _measured(run, merged, replicas)


def _measured(
    run: Run, slow: list[Slowdown], replicas: GroupComparison
) -> list[SlowContext]:
    """Return the contexts of slowdowns whose cost over the run is large enough."""
    worked = _worked(replicas)
    contexts = [slow_context(run, one, slow) for one in slow]
    if not replicas.blocks.count:
        return contexts
    for context in contexts:
        one, own, peers = context.slow, context.slow.replicas, context.peers
        span = (one.begin_s, one.end_s)
        if one.drift:
            span = (_LAST * worked[1], worked[1])
        one.in_span = slowdown_over(run, one.measure, own, peers, span)
        for measure in one.by_measure:
            whole = (0.0, run.wall_s) if measure in MEANS else worked
            one.by_measure[measure] = slowdown_over(run, measure, own, peers, whole)
        one.overall = one.by_measure[one.measure]
    return [one for one in contexts if one.slow.overall >= LEAST_OVERALL]


def _worked(replicas: GroupComparison) -> Span:
    """Return the time in which all replicas worked; without blocks the whole run."""
    run, blocks = replicas.run, replicas.blocks
    if not blocks.count:
        return 0.0, run.wall_s
    first, last = blocks.edges[0], blocks.edges[-1]
    return float(first - run.begin_ns) / 1e9, float(last - run.begin_ns) / 1e9


def _as_episode(slow: Slowdown, analysis: Analysis) -> Slowdown:
    """Return a slowdown of a part of the run with the extent of its episode, if any."""
    if slow.whole or slow.drift:
        return slow
    numbers = [int(name.split()[-1]) for name in analysis.inputs.names]
    for one in analysis.episodes:
        own = [numbers[index] for index in one.replicas]
        common = min(slow.end_s, one.end_s) - max(slow.begin_s, one.begin_s)
        if (
            one.drift
            or one.cause in ("fenced", *LOAD)
            or not {*own} <= {*slow.replicas}
            or common < _SAME_TIME * one.length_s
        ):
            continue
        node = own == slow.replicas and slow.level == "node"
        return replace(
            slow,
            where=slow.where if node else [f"replica {number}" for number in own],
            level="node" if node else "replica",
            replicas=own,
            begin_s=one.begin_s,
            end_s=one.end_s,
            from_start=slow.from_start and one.begin_s <= slow.begin_s + one.length_s,
            by_measure=dict(slow.by_measure),
        )
    return slow


def _belong(first: SlowContext, other: SlowContext) -> bool:
    """Return whether two slowdowns are one: replicas, cause, measure and time."""
    one, two = first.slow, other.slow
    if "node" in (one.level, two.level) or one.measure != two.measure:
        return False
    longer = max(one.end_s - one.begin_s, two.end_s - two.begin_s)
    common = min(one.end_s, two.end_s) - max(one.begin_s, two.begin_s)
    return (
        one.drift == two.drift
        and one.whole == two.whole
        and common >= _SAME_TIME * longer
        and [cause.code for cause in causes(first)]
        == [cause.code for cause in causes(other)]
    )


def _merged(slow: list[Slowdown]) -> Slowdown:
    """Return slowdowns of several replicas as one."""
    if len(slow) == 1:
        return slow[0]
    order = sorted(slow, key=lambda one: one.replicas)
    return replace(
        slow[0],
        where=[place for one in order for place in one.where],
        replicas=[replica for one in order for replica in one.replicas],
        p=max(one.p for one in slow),
        begin_s=min(one.begin_s for one in slow),
        end_s=max(one.end_s for one in slow),
        by_measure=dict(slow[0].by_measure),
    )


def slowdown(context: SlowContext, why: list[Cause], worked: Span) -> Found:
    """Return the finding of a slowdown with its causes, the most likely first.

    Args:
        context: the slowdown, and what was recorded at that time.
        why: its causes.
        worked: time in which all replicas worked, for the estimate of a rate.
    """
    slow, run = context.slow, context.run
    code = f"slow.{why[0].code if why else 'unknown'}"
    compared = None if why else compare_with_peers(context)
    others = ", ".join(
        f"{MEASURES[measure]} {value:+.1%}"
        for measure, value in slow.by_measure.items()
        if measure != slow.measure and value == value
    )
    return Found(
        finding=Finding(
            code=code,
            severity=_severity(slow),
            title=_title(slow),
            where=slow.where,
            evidence=f"{_place(run, slow)}Over the whole run {slow.its}"
            f" {MEASURES[slow.measure]} was {slow.overall:.1%} above that of"
            f" {slow.its} peers ({_peers(context)}; tested in blocks of time,"
            f" {p_value(slow.p)})." + (f" Other measures: {others}." if others else ""),
            cause=" Also: ".join(cause.text for cause in why)
            if compared is None
            else _unknown(compared),
            measure="" if compared is None else _measure(compared.missing),
        ),
        advice=Recommendation(
            finding=code,
            where=slow.where,
            text=f"{slow.name}: {why[0].advice}"
            if why
            else f"{slow.name}: find the cause; until then run without"
            f" {'it' if slow.single else 'them'}",
            estimate=gain(
                run,
                slow.replicas,
                context.peers,
                (0.0, run.wall_s) if run.streaming else worked,
            ),
        ),
    )


def slow_findings(
    run: Run, analysis: Analysis, replicas: GroupComparison, nodes: GroupComparison
) -> list[tuple[SlowContext, list[Cause], Found]]:
    """Return each slowdown of a run with its causes and its finding.

    Args:
        run: the run.
        analysis: the run over time.
        replicas: its replicas, compared.
        nodes: its nodes, compared.
    """
    worked = _worked(replicas)
    found = []
    for context in slow_contexts(run, analysis, replicas, nodes):
        why = causes(context)
        found.append((context, why, slowdown(context, why, worked)))
    return found


def _title(slow: Slowdown) -> str:
    be = "was" if slow.single else "were"
    if slow.drift:
        return (
            f"{slow.name} became slower over the run: {slow.in_span:.0%} slower than"
            f" {slow.its} peers in its last quarter"
        )
    span = (
        "throughout the run"
        if slow.whole
        else f"from {slow.begin_s:,.0f} to {slow.end_s:,.0f} s"
    )
    return f"{slow.name} {be} {slow.in_span:.0%} slower than {slow.its} peers {span}"


def _place(run: Run, slow: Slowdown) -> str:
    """Return which node several slow replicas share, as a sentence; else nothing."""
    if slow.level == "node" or len(slow.replicas) < 2:
        return ""
    nodes = {run.node_of[replica] for replica in slow.replicas}
    if len(nodes) > 1:
        return f"They are on {count(len(nodes), 'node')}. "
    (node,) = nodes
    there = sum(name == node for name in run.node_of.values())
    every = f"the {there}" if len(slow.replicas) < there else f"{there}"
    return f"They are {len(slow.replicas)} of {every} replicas of {node}. "


def _peers(context: SlowContext) -> str:
    """Return who the peers are; by number if they are few beside the slow ones."""
    if len(context.peers) < len(context.slow.replicas):
        return f"the peers are {name_replicas(context.peers)}"
    return count(len(context.peers), "peer")


def _severity(slow: Slowdown) -> Severity:
    if slow.overall >= _CRITICAL:
        return "critical"
    return "warning" if slow.overall >= _WARNING else "note"


def _unknown(compared: PeerComparison) -> str:
    """Return what was compared if no cause was found, with medians over the span."""
    text = NOT_RECORDED
    if compared.similar:
        text += f" Similar to the peers: {', '.join(compared.similar)}."
    if compared.different:
        text += f" Different from the peers: {', '.join(compared.different)}."
    return text


def _measure(missing: list[str]) -> str:
    if missing:
        return f"Record {', '.join(missing)}; this run did not."
    return (
        "Run the same samples on it alone and on one of its peers alone. Then"
        " swap the devices to separate the device from its host."
    )
