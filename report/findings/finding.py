"""What the data show, and what follows from it."""

from typing import Literal

from msgspec import Struct, field

from report.figures import Figure

Severity = Literal["critical", "warning", "note"]
ORDER: tuple[Severity, ...] = ("critical", "warning", "note")


class Finding(Struct, kw_only=True):
    """Something that the data show."""

    code: str
    """Kind of finding, the same in every report, e.g. `slow.throttled`."""
    severity: Severity
    title: str
    where: list[str] = field(default_factory=list)
    """Nodes or replicas that it concerns; empty for the whole run."""
    evidence: str
    """Figures, samples and times."""
    cause: str
    """As far as the data show it."""
    measure: str = ""
    """The measurement that would tell more, where the data show no cause."""


class Recommendation(Struct, kw_only=True):
    """What to do about a finding, and what it would gain in this run."""

    finding: str
    """Code of the finding that it follows from."""
    where: list[str] = field(default_factory=list)
    text: str
    estimate: Figure


class Found(Struct, kw_only=True):
    """A finding, with the advice that follows from it, if any."""

    finding: Finding
    advice: Recommendation | None = None


_SHOWN = 10


def some(values: list[int] | list[str]) -> str:
    """Return the first of `values` and how many more there are."""
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return shown + more


def name_replicas(replicas: list[int]) -> str:
    """Return how a sentence calls these replicas."""
    word = "replica" if len(replicas) == 1 else "replicas"
    return f"{word} {some(replicas)}"
