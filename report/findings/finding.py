"""Findings, the causes behind them, and recommendations."""

from dataclasses import dataclass
from typing import Literal

from msgspec import Struct, field

from report.figures import Figure

Severity = Literal["critical", "warning", "note"]
ORDER: tuple[Severity, ...] = ("critical", "warning", "note")


Effort = Literal["now", "this week", "with new hardware"]
EFFORTS: tuple[Effort, ...] = ("now", "this week", "with new hardware")


class Finding(Struct, kw_only=True):
    """Something that the data show."""

    code: str
    """Kind of finding, the same in every report, e.g. `slow.throttled`."""
    severity: Severity
    title: str
    """One clause without a period."""
    where: list[str] = field(default_factory=list)
    """Nodes or replicas that it concerns; empty for the whole run."""
    evidence: str
    """Values, samples and times, in sentences; long evidence has several lines."""
    cause: str
    """As far as the data show it, in sentences."""
    measure: str = ""
    """What to measure next, if the data do not show the cause."""
    impact: str = ""
    """What it cost in this run, with its definition; empty: the data do not show it."""


class Recommendation(Struct, kw_only=True):
    """What to do about a finding, and what it would gain in this run."""

    finding: str
    """Code of the finding that it follows from."""
    where: list[str] = field(default_factory=list)
    text: str
    estimate: Figure
    effort: Effort = "now"
    """`now`: a setting; `this week`: work on the hosts; `with new hardware`."""


class Found(Struct, kw_only=True):
    """A finding with the recommendation that follows from it, if any."""

    finding: Finding
    advice: Recommendation | None = None


@dataclass(slots=True, kw_only=True)
class Cause:
    """Why a node or replica was slow."""

    code: str
    text: str
    """In sentences."""
    advice: str
    """What to do about it, as an imperative."""
