"""A comparison for the terminal, as Markdown, as a page and as JSON."""

from dataclasses import dataclass
from pathlib import Path

from record.folder import write_json, write_text
from report.compare.conclusion import interval, percent
from report.compare.result import Comparison, MeasureComparison
from report.rendering.page import page_environment
from report.rendering.words import markdown
from report.wording import cell

_WORDS = {
    "better": "B better",
    "worse": "B worse",
    "equal": "equal",
    "undecided": "no difference beyond noise",
    "not tested": "not tested",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """Where the interval of a measure lies on its axis, in percent of the width."""

    left: float
    width: float
    point: float


def as_text(comparison: Comparison) -> str:
    """Return the comparison for a terminal."""
    lines = [*comparison.conclusion, ""]
    rows: list[tuple[str, ...]] = [("", "A", "B", "change", "95% interval", "outcome")]
    for one in comparison.measures:
        rows.append(
            (
                f"{one.name}, {one.unit}",
                cell(one.mean_a),
                cell(one.mean_b),
                percent(one.ratio),
                interval(one),
                _WORDS[one.outcome],
            )
        )
    lines += _columns(rows)
    if comparison.differences:
        lines += ["", "What differs:"]
        rows = [("", "A", "B")]
        rows += [(f"{d.kind}: {d.name}", d.a, d.b) for d in comparison.differences]
        lines += _columns(rows, right=False)
    lines += [
        "",
        f"{comparison.design}: {comparison.design_reason}"
        f" ({len(comparison.a)} runs of A, {len(comparison.b)} of B)",
    ]
    lines += [f"note: {note}" for note in comparison.notes]
    return "\n".join(lines)


def _columns(rows: list[tuple[str, ...]], right: bool = True) -> list[str]:
    """Return rows as aligned columns; numbers on the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    last = len(widths) - 1
    return [
        "  ".join(
            text.rjust(widths[i]) if right and 0 < i < last else text.ljust(widths[i])
            for i, text in enumerate(row)
        ).rstrip()
        for row in rows
    ]


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Write comparison.{json,md,html} into `out`; return the path of the page.

    Raises:
        OSError: a file cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "comparison.json", comparison)
    for name in ("comparison.md", "comparison.html"):
        write_text(out / name, render(name, comparison))
    return out / "comparison.html"


def render(name: str, comparison: Comparison) -> str:
    """Return the page or the Markdown file of a comparison."""
    environment = page_environment()
    environment.filters |= {
        "cell": cell,
        "percent": percent,
        "interval": interval,
        "markdown": markdown,
    }
    reach = _reach(comparison.measures)
    text = environment.get_template(name).render(
        comparison=comparison,
        words=_WORDS,
        reach=reach,
        bars={one.name: _bar(one, reach) for one in comparison.measures},
    )
    return text.rstrip() + "\n"


def _reach(found: list[MeasureComparison]) -> float:
    """Return the change in percent at the ends of the axis."""
    ends = [
        abs(100 * (value - 1))
        for one in found
        for value in (one.ratio, one.low, one.high)
        if value is not None
    ]
    return min(100.0, max(1.0, *ends)) if ends else 1.0


def _bar(one: MeasureComparison, reach: float) -> Bar:
    def position(ratio: float) -> float:
        share = (100 * (ratio - 1) / reach + 1) / 2
        return round(100 * min(1.0, max(0.0, share)), 2)

    low = position(one.ratio if one.low is None else one.low)
    high = position(one.ratio if one.high is None else one.high)
    return Bar(left=low, width=round(high - low, 2), point=position(one.ratio))
