"""What report.json holds, from the runs that it is about."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from record.campaign import Campaign
from record.json_types import Json
from report.cold_start import cold_start
from report.comparison import Comparison
from report.configuration import configuration
from report.figures import Section
from report.findings.collect import collect
from report.findings.finding import ORDER, Finding, Found, Recommendation
from report.findings.scaling import scaling_findings
from report.latency import latency
from report.physics import RATINGS, DeviceRating
from report.resources import resources
from report.run import Run
from report.scaling.rates import counted
from report.scaling.section import scaling
from report.scaling.sizes import scaled
from report.symmetry import symmetry
from report.timeline.analysis import Analysis, analyze
from report.timeline.findings import timeline_advice, timeline_findings
from report.timeline.inputs import inputs_of
from report.timeline.section import timeline
from report.tokens import tokens
from report.validity import validity
from report.words import count


class Content(Struct, kw_only=True):
    """The keys of report.json, in its order."""

    configuration: Section
    scaling: Section
    symmetry: Section
    resources: Section
    latency: Section
    tokens: Section
    timeline: Section
    cold_start: Section
    findings: list[Finding]
    recommendations: list[Recommendation]
    validity: Section

    def plain(self) -> dict[str, Json]:
        """Return it as plain JSON values."""
        values: dict[str, Json] = msgspec.to_builtins(self)
        return values


KEYS = Content.__struct_fields__
"""Top-level keys of report.json."""


@dataclass(slots=True, kw_only=True)
class Report:
    """A report before it is written."""

    runs: list[Run]
    subject: Run
    """The run that all sections but scaling describe."""
    content: Content
    analysis: Analysis
    """Of the subject over time."""
    campaign: Campaign | None = None
    """The campaign that made the runs; None: they were given one by one."""


def make_report(
    runs: Sequence[Run],
    ratings: dict[str, DeviceRating] = RATINGS,
    campaign: Campaign | None = None,
) -> Report:
    """Return the report of one run, or of several with their scaling.

    Args:
        runs: of one scenario; one at least.
        ratings: limits of devices, by what their names contain.
        campaign: what made them, where a campaign did.
    """
    subject = subject_of(runs)
    nodes = Comparison(run=subject, level="node")
    replicas = Comparison(run=subject, level="replica")
    analysis = analyze(inputs_of(subject))
    found = _findings(runs, subject, replicas, nodes, campaign, analysis)
    content = Content(
        configuration=configuration(subject),
        scaling=scaling(runs, subject, campaign),
        symmetry=symmetry(subject, nodes, replicas),
        resources=resources(subject, ratings),
        latency=latency(subject),
        tokens=tokens(subject),
        timeline=timeline(analysis),
        cold_start=cold_start(subject),
        findings=[one.finding for one in found],
        recommendations=[
            one.advice
            for one in found
            # Advice that gains nothing in this run is none.
            if one.advice is not None and (one.advice.estimate.value or 0) > 0
        ]
        + [
            advice
            for advice in timeline_advice(analysis, found)
            if advice.estimate.value > 0
        ],
        validity=validity(subject),
    )
    return Report(
        runs=list(runs),
        subject=subject,
        content=content,
        analysis=analysis,
        campaign=campaign,
    )


def subject_of(runs: Sequence[Run]) -> Run:
    """Return the largest run; of several that count, the one of middle throughput."""
    size = max(run.size for run in runs)
    own = [run for run in runs if run.size == size]
    largest = sorted(counted(own) or own, key=lambda run: run.tokens_per_s)
    return largest[(len(largest) - 1) // 2]


def _findings(
    runs: Sequence[Run],
    subject: Run,
    replicas: Comparison,
    nodes: Comparison,
    campaign: Campaign | None,
    analysis: Analysis,
) -> list[Found]:
    """Return the subject's findings, and what other runs show beside them."""
    found = collect(subject, analysis, replicas, nodes)
    found += timeline_findings(analysis, found)
    seen = {(one.finding.code, *one.finding.where) for one in found}
    also: dict[tuple[str, ...], list[tuple[Run, Found]]] = defaultdict(list)
    # A search has runs that fail: they bound the rate, and nothing is wrong with them.
    searched = {
        one.run for one in (campaign.runs if campaign else []) if one.phase == "search"
    }
    for run in runs:
        if run is subject or run.name in searched:
            continue
        levels = [Comparison(run=run, level=level) for level in ("replica", "node")]
        for one in collect(run, analyze(inputs_of(run)), *levels):
            if one.finding.severity != "note":
                key = (one.finding.code, *one.finding.where)
                also[key].append((run, one))
    for key, others in also.items():
        names = ", ".join(run.name for run, _ in others[:4])
        if key in seen:
            same = next(o for o in found if (o.finding.code, *o.finding.where) == key)
            same.finding.evidence += (
                f"; also in {count(len(others), 'other run')} ({names})"
            )
            continue
        first = others[0][1]
        first.finding.title += f" (in {names})"
        found.append(first)
    found += scaling_findings(runs, scaled(runs))
    return sorted(found, key=lambda one: ORDER.index(one.finding.severity))
