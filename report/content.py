"""The content of report.json, made from runs."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from record.campaign import Campaign
from record.structs import Json
from report.figures import Section
from report.findings.answers import answer_findings
from report.findings.collect import collect
from report.findings.effort import add_impacts, effort_of
from report.findings.finding import ORDER, Finding, Found, Recommendation
from report.findings.opportunities import opportunities
from report.findings.scaling import scaling_findings
from report.findings.timeline import timeline_advice, timeline_findings
from report.reading.run import Run
from report.sections.cold_start import cold_start
from report.sections.configuration import configuration
from report.sections.latency import latency
from report.sections.resources import resources
from report.sections.scaling import scaling
from report.sections.symmetry import symmetry
from report.sections.timeline import timeline
from report.sections.tokens import tokens
from report.sections.validity import validity
from report.statistics.comparison import GroupComparison
from report.statistics.physics import RATINGS, DeviceRating
from report.statistics.rates import representative_runs
from report.statistics.sizes import scaling_by_size
from report.timeline.analysis import Analysis, analyze
from report.timeline.inputs import inputs_of
from report.wording import count


class Content(Struct, kw_only=True):
    """The keys of report.json, in their order."""

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
        """Return the content as plain JSON values."""
        values: dict[str, Json] = msgspec.to_builtins(self)
        return values


KEYS = Content.__struct_fields__
"""Top-level keys of report.json."""


@dataclass(slots=True, kw_only=True)
class Report:
    """A report before it is written."""

    runs: list[Run]
    subject: Run
    """The run that all sections except scaling describe."""
    content: Content
    ratings: dict[str, DeviceRating]
    """Limits of devices, by words of their names."""
    analysis: Analysis
    """Of the subject over time."""
    campaign: Campaign | None = None
    """The campaign that made the runs; None if they were given one by one."""

    @property
    def several(self) -> bool:
        """Whether the report is about a campaign, or about several runs."""
        return self.campaign is not None or len(self.runs) > 1


def make_report(
    runs: Sequence[Run],
    ratings: dict[str, DeviceRating] = RATINGS,
    campaign: Campaign | None = None,
) -> Report:
    """Return the report of one run, or of several runs with their scaling.

    Args:
        runs: one or more runs of one scenario.
        ratings: limits of devices, by words of their names.
        campaign: the campaign that made the runs, if there was one.
    """
    subject = subject_of(runs)
    nodes = GroupComparison(run=subject, level="node")
    replicas = GroupComparison(run=subject, level="replica")
    analysis = analyze(inputs_of(subject))
    found = _findings(runs, subject, replicas, nodes, campaign, analysis)
    advice = [
        one.advice
        for one in found
        # A recommendation without a gain in this run is left out.
        if one.advice is not None and (one.advice.estimate.value or 0) > 0
    ]
    for one in advice:
        one.effort = effort_of(one.finding)
    advice += [
        one for one in timeline_advice(analysis, found) if one.estimate.value > 0
    ]
    add_impacts(found, advice)
    content = Content(
        configuration=configuration(subject),
        scaling=scaling(runs, subject, campaign),
        symmetry=symmetry(subject, nodes, replicas),
        resources=resources(subject, ratings),
        latency=latency(subject),
        tokens=tokens(subject, runs),
        timeline=timeline(analysis),
        cold_start=cold_start(subject),
        findings=[one.finding for one in found],
        recommendations=advice,
        validity=validity(subject),
    )
    return Report(
        runs=list(runs),
        subject=subject,
        content=content,
        ratings=ratings,
        analysis=analysis,
        campaign=campaign,
    )


def subject_of(runs: Sequence[Run]) -> Run:
    """Return the run of the largest size; of several, the one of median throughput."""
    size = max(run.size for run in runs)
    own = [run for run in runs if run.size == size]
    largest = sorted(representative_runs(own) or own, key=lambda run: run.tokens_per_s)
    return largest[(len(largest) - 1) // 2]


def _findings(
    runs: Sequence[Run],
    subject: Run,
    replicas: GroupComparison,
    nodes: GroupComparison,
    campaign: Campaign | None,
    analysis: Analysis,
) -> list[Found]:
    """Return the findings of the subject, and those of the other runs."""
    found = collect(subject, analysis, replicas, nodes)
    found += timeline_findings(analysis, found)
    seen = {(one.finding.code, *one.finding.where): one.finding for one in found}
    other: dict[tuple[str, ...], list[tuple[Run, Found]]] = defaultdict(list)
    # A search has runs that fail: they give the upper bound of the rate.
    searched = {
        one.run for one in (campaign.runs if campaign else []) if one.phase == "search"
    }
    for run in runs:
        if run is subject or run.name in searched:
            continue
        levels = [
            GroupComparison(run=run, level="replica"),
            GroupComparison(run=run, level="node"),
        ]
        for one in collect(run, analyze(inputs_of(run)), *levels):
            if one.finding.severity != "note":
                key = (one.finding.code, *one.finding.where)
                other[key].append((run, one))
    for key, same in other.items():
        names = ", ".join(run.name for run, _ in same[:4])
        if key in seen:
            runs_text = count(len(same), "other run")
            seen[key].evidence += f" This was also found in {runs_text} ({names})."
            continue
        first = same[0][1]
        first.finding.title += f" (in {names})"
        found.append(first)
    found += answer_findings(runs)
    found += scaling_findings(runs, scaling_by_size(runs))
    # A run with a fault has nothing unused that is worth a look before the fault.
    if subject.verdict.outcome == "passed" and all(
        one.finding.severity == "note" for one in found
    ):
        found += opportunities(subject, analysis)
    return sorted(found, key=lambda one: ORDER.index(one.finding.severity))
