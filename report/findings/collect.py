"""All findings of a run, the most severe first."""

from report.findings.circumstances import neighbors, setups
from report.findings.finding import ORDER, Cause, Found
from report.findings.flow import flow
from report.findings.hardware import hardware
from report.findings.losses import losses
from report.findings.quality import quality
from report.findings.slow import slow_findings
from report.findings.slow_context import SlowContext
from report.findings.timing import arrivals, timing
from report.reading.run import Run
from report.statistics.comparison import GroupComparison
from report.timeline.analysis import Analysis


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
    slow = slow_findings(run, analysis, replicas, nodes)
    found = [
        *timing(run),
        *losses(run),
        *quality(run, nodes),
        *(one for _, _, one in slow),
        *hardware(run),
        *flow(run),
        *arrivals(run),
        *neighbors(run, _reported(slow, "neighbor")),
        *setups(run, _reported(slow, "heterogeneous")),
    ]
    return sorted(found, key=lambda one: ORDER.index(one.finding.severity))


def _reported(
    slow: list[tuple[SlowContext, list[Cause], Found]], code: str
) -> set[int]:
    """Return the slow replicas with this cause."""
    return {
        replica
        for context, why, _ in slow
        if any(cause.code == code for cause in why)
        for replica in context.slow.replicas
    }
