"""The conclusion of a report, in sentences: the result, how even it was, what to do."""

from collections.abc import Iterator

from report.content import Report
from report.findings.finding import EFFORTS, Recommendation
from report.rendering.headline import rows_of, sizes_of
from report.sections.symmetry import BALANCED, NOT_TESTED
from report.sections.validity import DOUBTFUL, state
from report.statistics.limits import limits
from report.statistics.numbers import MS
from report.statistics.rates import is_server, rate_of
from report.statistics.sizes import scaling_by_size
from report.wording import cell, count, sentence, with_unit

_TIMES = 2.0
"""Multiple of a limit from which it is said as a multiple."""
_DETAILS = ("; to confirm", " (scenario.target_qps)")
"""Where the details of an advice begin; the recommendations have them."""


def conclusion(report: Report) -> list[str]:
    """Return the conclusion, a sentence or two in each entry."""
    return [
        *([_result(report)] if len(report.subject.done) else []),
        *_scaling(report),
        *_validity(report),
        *_evenness(report),
        _findings(report),
    ]


def _result(report: Report) -> str:
    run = report.subject
    rates, given = run.completed_per_s, rate_of(run) if is_server([run]) else 0.0
    samples, tokens = rates or (run.samples_per_s, run.tokens_per_s)
    asked = f" at a set rate of {cell(given)} queries/s" if given else ""
    lost = (
        f"{count(len(run.lost), 'sample')} of {run.issued:,} were lost"
        if len(run.lost)
        else "no sample was lost"
    )
    begin = f"In the run {run.name}, " if report.several else ""
    return (
        f"{begin}{count(run.size, 'replica')} on {count(len(run.nodes), 'node')}"
        f" completed {cell(samples)} samples/s and {cell(tokens)} output tokens/s"
        f"{asked}; {lost}."
    )


def _scaling(report: Report) -> Iterator[str]:
    known = [
        row
        for row in (scaling_by_size(report.runs) if report.several else [])
        if row.metric.main and row.size > 1 and row.efficiency is not None
    ]
    for row in known[-1:]:
        share = row.efficiency
        assert share is not None
        known_interval = share.low == share.low and share.high == share.high
        yield (
            f"From {sizes_of(report)}, the largest size reached"
            f" {100 * share.value:.1f}% of the {row.metric.name} that linear"
            " scaling would give"
            + (
                f" (95% interval {100 * share.low:.1f} to {100 * share.high:.1f}%):"
                f" {row.verdict}."
                if known_interval
                else "; too few runs for an interval."
            )
        )


def _validity(report: Report) -> Iterator[str]:
    run = report.subject
    if state(run) == DOUBTFUL:
        yield "The record disagrees with LoadGen's log: do not use its figures."
    elif run.verdict.outcome == "passed":
        yield "The run passed the gate."
    else:
        reason = run.verdict.reason or "see Validity"
        yield f"The run is not valid ({run.verdict.outcome}): {sentence(reason)}"
    for limit in limits(run):
        if limit.value_ns is None or limit.headroom_pct is None:
            continue
        times = limit.value_ns / limit.allowed_ns
        where = (
            f"{abs(limit.headroom_pct):.3g}% {'below' if times <= 1 else 'above'}"
            if times < _TIMES
            else f"{times:.1f} times"
        )
        yield (
            f"{limit.name} p{limit.percentile:g} was {cell(limit.value_ns / MS)} ms,"
            f" {where} its limit."
        )


def _evenness(report: Report) -> Iterator[str]:
    main = "service latency" if report.subject.streaming else "tokens/s"
    for row in rows_of(report, "symmetry", "summary"):
        spread, status = row["spread"], row["status"]
        if row["measure"] != main or spread is None or status in (BALANCED, NOT_TESTED):
            continue
        noise = (
            "more than noise"
            if row["beyond noise"] is True
            else "which is within noise"
        )
        yield (
            f"The {row['between']} differ by {spread:.1f}% in {main}, {noise}"
            f" ({status})."
        )
        return


def _findings(report: Report) -> str:
    found = [
        one for one in report.content.findings if not one.code.startswith("opportunity")
    ]
    advice = report.content.recommendations
    if not found:
        if not advice:
            return "No fault was found, and the record shows nothing left unused."
        return f"No fault was found. What the run leaves unused: {_first(advice)}"
    by_code = {one.finding: one for one in reversed(advice)}
    # That a run is not valid is said already; the first cause with a remedy helps more.
    main = next((one for one in found if one.code in by_code), found[0])
    text = f"{count(len(found), 'finding')}; the main one: {main.title}."
    if not advice:
        return text
    own = [one for one in advice if one.finding == main.code]
    return f"{text} What to do first: {_first(own or advice)}"


def _first(advice: list[Recommendation]) -> str:
    """Return the advice that takes least, with its gain; how to confirm it is below."""
    one = min(advice, key=lambda one: EFFORTS.index(one.effort))
    text = one.text
    for rest in _DETAILS:
        text = text.partition(rest)[0]
    gain = with_unit(cell(one.estimate.value), one.estimate.unit)
    return f"{text} (estimated gain {gain}; effort: {one.effort})."
