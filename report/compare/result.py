"""What a comparison of two sides found: the content of `comparison.json`."""

from typing import Literal

from msgspec import Struct

from report.compare.measures import Better
from report.compare.setups import SetupDifference

Design = Literal["paired", "unpaired"]
Outcome = Literal["better", "worse", "equal", "undecided", "not tested"]
METHOD = (
    "Ratio of geometric means, B / A. 95% interval by Welch's t over the logarithms of"
    " the runs, or by Student's t over the differences of pairs. The main measure is"
    " tested at 5%, the others together at 5% (Holm). Equal: the whole interval lies"
    " within the smallest difference that matters. Runs that would decide: noncentral"
    " t, power 80%, with the noise at its 80% upper limit (Browne 1995)."
)


class ComparedRun(Struct, kw_only=True):
    """A run of one side."""

    name: str
    path: str
    begin: str
    """UTC time of its first issue."""
    outcome: str
    """The gate's verdict."""


class MeasureComparison(Struct, kw_only=True):
    """One measure on both sides."""

    name: str
    unit: str
    better: Better
    definition: str
    is_main: bool
    a: list[float]
    """One value per run, in order of time."""
    b: list[float]
    mean_a: float
    """Geometric mean of the runs."""
    mean_b: float
    ratio: float
    """B / A."""
    low: float | None
    """Lower end of the 95% interval of the ratio; None if the noise is unknown."""
    high: float | None
    p: float | None
    p_adjusted: float | None
    """Corrected for the number of measures; equal to `p` for the main measure."""
    noise_pct: float | None
    """Standard deviation from run to run (of a pair's difference, if paired)."""
    found_pct: float | None
    """Smallest difference that so many runs find in 80% of cases."""
    outcome: Outcome
    runs_for_smallest: int | None
    """Runs of each side that find the smallest difference that matters; None: unknown
    or more than 10,000."""
    runs_for_this: int | None
    """Runs of each side that find a difference as large as the one seen."""


class Comparison(Struct, kw_only=True):
    """Two sides compared: the content of `comparison.json`."""

    scenario: str
    mode: str
    design: Design
    design_reason: str
    smallest_pct: float
    """Smallest difference that matters to the user."""
    a: list[ComparedRun]
    b: list[ComparedRun]
    conclusion: list[str]
    """Sentences."""
    measures: list[MeasureComparison]
    differences: list[SetupDifference]
    notes: list[str]
    method: str = METHOD
