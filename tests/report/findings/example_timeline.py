"""What the timeline of a run can state: an episode of each kind, and missed limits."""

from collections.abc import Iterator

from report.findings.finding import Found
from report.findings.timeline import timeline_advice, timeline_findings
from report.timeline.analysis import analyze
from report.timeline.series import Inputs
from tests.report.timeline.planted import SIZES, planted
from tests.report.timeline.simulator import simulate

_SEED = 3
_WITH_LIMITS = "throttled"


def timeline_findings_of_planted_runs() -> Iterator[Found]:
    """Yield the findings of one run for each kind, with the first advice on each."""
    for kind in SIZES:
        cluster, _ = planted(kind, _SEED)
        for one in _found(simulate(cluster)):
            # All of these runs miss limits; one example of that is enough.
            if one.finding.code != "limits" or kind == _WITH_LIMITS:
                yield one


def _found(inputs: Inputs) -> Iterator[Found]:
    analysis = analyze(inputs)
    found = [*timeline_findings(analysis, [])]
    advice = timeline_advice(analysis, found)
    for one in found:
        one.advice = next((a for a in advice if a.finding == one.finding.code), None)
        yield one
