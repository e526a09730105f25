"""What one check of `mlperf-sut doctor` reports."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How serious a diagnosis is."""

    good = "good"
    warning = "warning"
    """Runs work, but may be slower or may disturb each other."""
    bad = "bad"
    """A run would fail."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One line: what was looked at, what was found, and how to fix it."""

    name: str
    level: Level
    found: str
    remedy: str = ""
    """Empty only where nothing has to be done."""


def good(name: str, found: str) -> Diagnosis:
    """Return a diagnosis with nothing to fix."""
    return Diagnosis(name, Level.good, found)


def warning(name: str, found: str, remedy: str) -> Diagnosis:
    """Return a diagnosis of what may slow a run down."""
    return Diagnosis(name, Level.warning, found, remedy)


def bad(name: str, found: str, remedy: str) -> Diagnosis:
    """Return a diagnosis of what makes a run fail."""
    return Diagnosis(name, Level.bad, found, remedy)
