"""The conclusion of a comparison in sentences."""

from collections.abc import Iterator, Sequence

from report.compare.result import Comparison, MeasureComparison, Outcome
from report.wording import cell, count, p_value, sentence, some


def conclusion(comparison: Comparison) -> list[str]:
    """Return what the comparison shows, the main measure first."""
    return [sentence(text) for text in _sentences(comparison)]


def percent(ratio: float) -> str:
    """Return a ratio as a change, e.g. `+1.2%`."""
    return f"{100 * (ratio - 1):+.2f}%"


def interval(one: MeasureComparison) -> str:
    """Return the 95% interval of a measure's change; `-` if it is unknown."""
    if one.low is None or one.high is None:
        return "-"
    return f"{percent(one.low)} to {percent(one.high)}"


def _sentences(comparison: Comparison) -> Iterator[str]:
    if not comparison.measures:
        yield "No measure was recorded in all runs of both sides"
        return
    main, others = comparison.measures[0], comparison.measures[1:]
    yield _main(main, comparison)
    for outcome in ("better", "worse"):
        if named := _named(others, outcome):
            yield f"B is {outcome} than A in {named}"
    if main.outcome != "not tested":
        decided = {"better", "worse"} & {one.outcome for one in others}
        undecided = [one.name for one in others if one.outcome == "undecided"]
        equal = [one.name for one in others if one.outcome == "equal"]
        if undecided and not decided and main.outcome in ("undecided", "equal"):
            yield "The other measures show no difference beyond noise either"
        elif undecided:
            yield f"No difference beyond noise in {some(undecided)}"
        if equal:
            within = f"{comparison.smallest_pct:g}%"
            yield f"Equal within {within}: {some(equal)}"
    yield from _more_runs(main, comparison)
    if not comparison.differences:
        yield (
            "The record shows no difference between the sides in configuration, code,"
            " versions or hosts"
        )


def _main(one: MeasureComparison, comparison: Comparison) -> str:
    values = f"{cell(one.mean_a)} to {cell(one.mean_b)} {one.unit}"
    seen = f"{one.name} {percent(one.ratio)} ({values})"
    if one.outcome == "not tested":
        return (
            f"Not tested: {seen}, from one run of each side, which shows no noise from"
            " run to run"
        )
    known = f"{seen}; 95% interval {interval(one)}, {p_value(one.p or 0.0)}"
    smallest = f"{comparison.smallest_pct:g}%"
    return {
        "better": f"B is better than A beyond noise: {known}",
        "worse": f"B is worse than A beyond noise: {known}",
        "equal": f"A and B are equal within {smallest}: {known}",
        "undecided": f"No difference beyond noise: {known}",
    }[one.outcome]


def _named(others: Sequence[MeasureComparison], outcome: Outcome) -> str:
    return some(
        [
            f"{one.name} ({percent(one.ratio)})"
            for one in others
            if one.outcome == outcome
        ]
    )


def _more_runs(main: MeasureComparison, comparison: Comparison) -> Iterator[str]:
    """Yield how many more runs would decide the main measure, if it is open."""
    if main.outcome == "not tested":
        yield "Make three runs or more of each side, alternating between A and B"
    if main.outcome != "undecided":
        return
    smallest = f"{comparison.smallest_pct:g}%"
    have = min(len(comparison.a), len(comparison.b))
    unit = "pair" if comparison.design == "paired" else "run"
    tail = "" if unit == "pair" else " of each side"
    needed = main.runs_for_smallest
    if needed is None:
        yield f"More than 10,000 {unit}s would be needed to find {smallest}"
    elif needed > have:
        yield (
            f"{count(needed - have, f'more {unit}')}{tail} would find a difference of"
            f" {smallest} in 80% of cases"
        )
    this = main.runs_for_this
    if this is not None and have < this and this != needed:
        yield (
            f"{count(this - have, f'more {unit}')}{tail} would decide if the true"
            f" difference is the one seen ({percent(main.ratio)})"
        )
    if main.found_pct is not None:
        yield (
            f"These runs find a difference of {main.found_pct:.2g}% or more in 80% of"
            " cases"
        )
