"""Whether queries came at the rate that was asked for."""

from collections.abc import Iterator

from report.findings.finding import Finding, Found
from report.reading.run import Run
from report.statistics.rates import arrived_per_s, paced, rate_of

_NOTICED = 0.02


def arrivals(run: Run) -> Iterator[Found]:
    """Yield a note where queries came 2% faster or slower than asked (Server)."""
    asked, came = rate_of(run), arrived_per_s(run)
    if not paced([run]) or not asked or abs(came / asked - 1) < _NOTICED:
        return
    scheduled = float(run.log.values.get("result_scheduled_samples_per_sec") or 0.0)
    yield Found(
        finding=Finding(
            code="arrivals",
            severity="note",
            title=f"Queries came {abs(came / asked - 1):.1%}"
            f" {'faster' if came > asked else 'slower'} than asked for",
            evidence=f"{len(run.samples):,} queries at {came:,.4g}/s, asked for"
            f" {asked:,.4g}/s"
            + (f", scheduled {scheduled:,.4g}/s" if scheduled else ""),
            cause=_cause(came, scheduled),
            measure="" if scheduled else "a run that LoadGen brings to its end",
        )
    )


def _cause(came: float, scheduled: float) -> str:
    if not scheduled:
        return "LoadGen did not log the rate that it scheduled"
    if came < scheduled * (1 - _NOTICED):
        return "queries were issued later than scheduled"
    return (
        "LoadGen draws the gaps between queries at random: in a short run their mean"
        " differs from the one that was set; the same seed and number of queries give"
        " the same gaps"
    )
