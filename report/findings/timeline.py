"""Findings and recommendations that follow from the analysis of time."""

from collections.abc import Iterator, Sequence

from report.figures import figure
from report.findings.effort import effort_of
from report.findings.finding import Finding, Found, Recommendation
from report.timeline.analysis import Analysis
from report.timeline.episodes import Episode
from report.timeline.sentences import (
    account_sentence,
    burst_sentence,
    cause_words,
    evidence_of,
    rate_sentence,
    title_of,
    when_words,
)
from report.wording import sentence

_NEAR_S = 10.0
_LATE = 0.05
"""Share of the late requests that makes an episode as grave as the missed limit."""


def timeline_findings(analysis: Analysis, seen: Sequence[Found]) -> Iterator[Found]:
    """Yield what time shows, missed limits first.

    Args:
        analysis: of the run.
        seen: findings from comparing replicas; an episode of a replica that one of them
            names is left to it.
    """
    yield from _limits(analysis)
    named = {
        place.lower()
        for one in seen
        if one.finding.code.startswith("slow.")
        for place in one.finding.where
    }
    cold = any(one.finding.code.startswith("cold.") for one in seen)
    for one in analysis.episodes:
        # What left the run is a finding of its own, and so are cold first samples.
        if one.cause == "fenced" or (one.cause == "cold" and cold):
            continue
        if one.where and _names(one) & named:
            continue
        yield Found(
            finding=Finding(
                code=f"episode.{one.cause}",
                severity="critical"
                if _late_share(one, analysis) > _LATE
                else "warning",
                title=title_of(one),
                where=one.where,
                evidence=sentence(evidence_of(one)),
                cause=sentence(one.text),
                measure=""
                if one.cause not in ("unknown", "gpu")
                else "Record engine steps, and what else ran on the host and its GPU at"
                " that time.",
            ),
        )


def timeline_advice(analysis: Analysis, found: Sequence[Found]) -> list[Recommendation]:
    """Return the advice that follows from these findings, the largest gain first.

    Episodes of one kind and place have one advice, with the gains of all.
    """
    wanted = {(one.finding.code, *one.finding.where) for one in found}
    merged: dict[tuple[str, ...], Recommendation] = {}
    for advice in analysis.advice:
        key = (advice.code, *advice.where)
        if key not in wanted:
            continue
        # Each advice on rates is one of its own.
        if advice.code != "limits" and key in merged:
            merged[key].estimate.value += advice.value
            continue
        place = (*key, advice.text) if advice.code == "limits" else key
        merged[place] = Recommendation(
            finding=advice.code,
            where=advice.where,
            text=advice.text,
            estimate=figure(advice.value, advice.unit, advice.definition),
            effort=effort_of(
                f"episode.{advice.cause}" if advice.cause else advice.code
            ),
        )
    return list(merged.values())


def explained(begin_s: float, end_s: float, analysis: Analysis) -> bool:
    """Return whether an episode of all replicas explains that one was slower then.

    While queues drain after it, replicas differ by chance.
    """
    return any(
        len(one.replicas) == len(analysis.inputs.names) > 1
        and not one.drift
        and one.begin_s - _NEAR_S <= begin_s
        and begin_s <= one.felt_until_s + _NEAR_S
        and end_s <= max(one.felt_until_s, one.end_s + one.length_s) + 3 * _NEAR_S
        for one in analysis.episodes
    )


def _names(one: Episode) -> set[str]:
    return {name.lower() for name in one.where}


def _late_share(one: Episode, analysis: Analysis) -> float:
    return max(
        (
            part.late / account.late
            for account in analysis.accounts
            for part in account.parts
            if part.episode is one
        ),
        default=0.0,
    )


_BURSTS_NAMED = 2
_BURSTS = "bursts of arrivals above what these settings sustain"
_HOST = ", with a GPU that waited for its host at times"


def _limits(analysis: Analysis) -> Iterator[Found]:
    """Yield the missed limits with what explains them."""
    if not analysis.accounts:
        return
    names = " and ".join(
        f"the {one.limit} limit ({one.late:,} requests late, {one.allowed:,} allowed)"
        for one in analysis.accounts
    )
    causes = list(
        dict.fromkeys(
            f"{cause_words(part.episode)} {when_words(part.episode)}"
            if part.episode
            else {
                "burst": _BURSTS + (_HOST if burst_sentence(analysis) else ""),
                "rest": "late requests throughout the run",
            }[part.kind]
            for account in analysis.accounts
            for part in account.parts
            if part.late > _LATE * account.late
        )
    )
    yield Found(
        finding=Finding(
            code="limits",
            severity="critical",
            title=f"The run missed {names}",
            evidence="\n".join(_evidence(analysis)),
            cause=sentence("; ".join(causes) or "late requests throughout the run"),
        ),
    )


def _evidence(analysis: Analysis) -> Iterator[str]:
    """Yield a line for each missed limit, and one for the rates."""
    for one in analysis.accounts:
        yield f"{one.limit}: {account_sentence(one, most=_BURSTS_NAMED)}"
    bursts = burst_sentence(analysis)
    yield f"Rates: {rate_sentence(analysis)}{f'; {bursts}' if bursts else ''}."
