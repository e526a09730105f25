"""All findings that a report can state, with example values: `docs/findings.md`.

`python -m tests.report.findings.page` prints the page; `make docs` writes it.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from report.findings.collect import collect
from report.findings.finding import ORDER, Found
from report.statistics.comparison import GroupComparison
from report.timeline.analysis import analyze
from report.timeline.inputs import inputs_of
from report.wording import capitalized, cell, with_unit
from tests.report.findings.example_answers import wrong_answers
from tests.report.findings.example_hardware import CODES, poor_hardware
from tests.report.findings.example_opportunities import unused
from tests.report.findings.example_slowdowns import (
    campaign_findings,
    size_findings,
    slow_findings,
)
from tests.report.findings.example_timeline import timeline_findings_of_planted_runs
from tests.report.findings.examples import RUNS

HEAD = """# Findings
The findings and recommendations that a report can state, with example values. The page
is generated: `make docs` writes it, and a test checks that it is current. How each
finding is decided: [report.md](report.md), and [timeline.md](timeline.md) for `limits`
and `episode.*`. `gate.*` is one finding for each failed check of the gate.
"""


def page() -> str:
    """Return the page."""
    with tempfile.TemporaryDirectory() as folder:
        found = [*_all(Path(folder))]
    order = {severity: place for place, severity in enumerate(ORDER)}
    found.sort(key=lambda one: (one.finding.code, order[one.finding.severity]))
    lines, seen = [HEAD], set[str]()
    for one in found:
        text = _text(one, heading=one.finding.code not in seen)
        if text not in lines:
            lines.append(text)
        seen.add(one.finding.code)
    return "\n".join(lines)


def _text(one: Found, *, heading: bool) -> str:
    finding, advice = one.finding, one.advice
    lines = [f"## `{finding.code}`"] if heading else []
    lines += [
        f"**{finding.title}** ({finding.severity})",
        "",
        f"- Evidence: {finding.evidence.replace(chr(10), ' ')}",
        f"- Cause: {finding.cause}",
    ]
    if finding.measure:
        lines.append(f"- Next: {finding.measure}")
    if advice is not None:
        estimate = advice.estimate
        lines.append(f"- Recommendation: {capitalized(advice.text)}.")
        lines.append(
            f"- Gain: {with_unit(cell(estimate.value), estimate.unit)}"
            f" ({estimate.definition})"
        )
    return "\n".join(lines) + "\n"


def _all(root: Path) -> Iterator[Found]:
    runs = (*RUNS, (poor_hardware, CODES))
    for number, (make, codes) in enumerate(runs):
        run = make(root / f"run{number}")
        replicas, nodes = (
            GroupComparison(run=run, level="replica"),
            GroupComparison(run=run, level="node"),
        )
        analysis = analyze(inputs_of(run))
        found = collect(run, analysis, replicas, nodes)
        assert {*codes} <= {one.finding.code for one in found}, codes
        yield from (one for one in found if one.finding.code in codes)
    yield from slow_findings(root / "slow")
    yield from size_findings(root / "sizes")
    yield from timeline_findings_of_planted_runs()
    yield from campaign_findings(root / "other")
    yield from wrong_answers(root / "answers")
    yield from unused(root / "unused")


if __name__ == "__main__":
    print(page(), end="")
