"""Whether queries came at the rate that was asked for."""

from collections.abc import Iterator

from report.findings.finding import Finding, Found
from report.run import Run
from report.scaling.rates import arrived_per_s, paced, rate_of

_NOTICED = 0.02
_CHANCE = 4.0
"""Standard errors of a mean gap: beyond that it was not the draw."""


def arrivals(run: Run) -> Iterator[Found]:
    """Yield a note where queries came 2% faster or slower than asked (Server)."""
    asked, came = rate_of(run), arrived_per_s(run)
    if not paced([run]) or not asked or not came:
        return
    ratio = came / asked
    if abs(ratio - 1) < _NOTICED:
        return
    # Exponential gaps: their mean has a relative error of 1 / sqrt(number).
    drawn = abs(ratio - 1) < _CHANCE / len(run.samples) ** 0.5
    yield Found(
        finding=Finding(
            code="arrivals",
            severity="note",
            title=f"Queries came {abs(ratio - 1):.1%}"
            f" {'faster' if ratio > 1 else 'slower'} than asked for",
            evidence=f"{len(run.samples):,} queries at {came:,.4g}/s, asked for"
            f" {asked:,.4g}/s",
            cause="LoadGen draws the gaps from its seed: so few of them may be short or"
            " long together; the same number of queries always brings the same"
            if drawn
            else "more than so many gaps drawn by chance can differ: queries were"
            " issued late, or not to the end",
            measure="" if drawn else "the issue delay (run.trace=true)",
        )
    )
