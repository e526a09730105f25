"""`tune.json`: what a tuning campaign asked for, tried and found.

It is the campaign's only state: Optuna's study is made from it whenever a setting is
proposed, so that an interrupted campaign resumes from it.
"""

from typing import Literal

from msgspec import Struct, field

NAME = "tune.json"
Phase = Literal["screen", "pair", "seed"]
"""`screen`: one run of a setting. `pair`: a run of the default and one of the setting,
side by side. `seed`: the same with other seeds of LoadGen."""
Origin = Literal["default", "simulator", "optuna"]


class Candidate(Struct, kw_only=True):
    """A setting that was tried; the first one is the default."""

    point: dict[str, str]
    """Values by option; empty: the default."""
    origin: Origin
    predicted: float | None = None
    """What the simulator expects of the objective; None: it did not propose it."""
    rejected: str = ""
    """Why it was dropped after runs in pairs."""


class TuneRun(Struct, kw_only=True):
    """One run."""

    candidate: int
    """Its place in `Tune.candidates`."""
    phase: Phase
    pair: int = 0
    """Number of its pair among those of its candidate and phase, from 0; of a run of
    the default that of the pair, too."""
    against: int = 0
    """The candidate of the pair; of a run to screen 0."""
    seed: int | None = None
    """LoadGen's seeds; None: those of the benchmark."""
    run: str | None = None
    """Name of its folder; None: it made none."""
    seconds: float = 0.0
    """From its start to its end, loading included."""
    value: float | None = None
    """Of the objective; None: the run does not count."""
    load: float | None = None
    """Largest used share of a latency limit; above 1: missed; None: no limit."""
    reason: str = ""
    """Why it does not count."""
    figures: dict[str, float] = field(default_factory=dict)
    """By name; the unit is part of the name, as in `forecast.json`."""


class Gain(Struct, kw_only=True):
    """A gain over the default from runs in pairs; 0.05 is 5% better."""

    gain: float
    """Mean over pairs, as a share."""
    low: float | None
    """95% interval, by Student's t over the differences of pairs; None: one pair."""
    high: float | None
    pairs: int
    """Number of pairs."""

    @property
    def is_better(self) -> bool:
        """Whether it is a gain beyond noise."""
        return self.low is not None and self.low > 0


class SeedGain(Struct, kw_only=True):
    """The gain with other seeds of LoadGen."""

    seed: int
    """LoadGen's seed."""
    gain: float
    """Mean over its pairs, as a share."""
    pairs: int
    """Number of pairs."""


class AccuracyCheck(Struct, kw_only=True):
    """The accuracy run with the settings that were found."""

    run: str | None
    """Name of its folder; None: it made none."""
    passed: bool
    reason: str = ""
    """Why it did not pass."""


class TuneResult(Struct, kw_only=True):
    """What a campaign found."""

    better: bool
    """Whether a setting is better than the default beyond noise, on all seeds."""
    candidate: int | None = None
    """Its place in `Tune.candidates`; of the best one, if none was confirmed."""
    point: dict[str, str] = field(default_factory=dict)
    """Values by option, of the candidate."""
    own: Gain | None = None
    """With the benchmark's seeds."""
    others: Gain | None = None
    """With other seeds, over all their pairs."""
    seeds: list[SeedGain] = field(default_factory=list)
    """By seed."""
    still_possible: float | None = None
    """Upper bound (90%) of what another setting may gain beyond the best one, by
    Optuna's regret bound; None: unknown."""
    ended: str = ""
    """Why no more settings were screened."""
    reason: str = ""
    """Why nothing better was found; empty: something was."""
    runs: int = 0
    """Number of all runs."""
    seconds: float = 0.0
    """Of all runs together."""
    accuracy: AccuracyCheck | None = None
    """None: no accuracy run was made."""


class Tune(Struct, kw_only=True):
    """A campaign in its current state."""

    shared: list[str]
    """Options of every run."""
    knobs: list[str]
    """OPTION=VALUES, as on the command line."""
    where: list[str]
    """Conditions on settings, as on the command line."""
    objective: str
    """Name of the figure that is to become better."""
    better: Literal["higher", "lower"]
    """Which values of it are better."""
    limits: list[str]
    """Latency limits of the user's own, as on the command line."""
    candidates: list[Candidate] = field(
        default_factory=lambda: [Candidate(point={}, origin="default")]
    )
    made: list[TuneRun] = field(default_factory=list)
    """Runs, in the order in which they ended."""
    screening_ended: str = ""
    """Why; empty: it goes on."""
    result: TuneResult | None = None
    """None: the campaign is not done."""

    def problem(self) -> str:
        """Return why its parts do not fit each other; empty: they do."""
        options = {knob.partition("=")[0] for knob in self.knobs}
        points = [one.point for one in self.candidates]
        if not points or points[0]:
            return "the first candidate is not the default"
        if any(point.keys() - options for point in points):
            return "a candidate has an option that is no knob"
        named = [n for run in self.made for n in (run.candidate, run.against)]
        if self.result is not None and self.result.candidate is not None:
            named.append(self.result.candidate)
        if any(not 0 <= number < len(points) for number in named):
            return "a run is of a candidate that is not there"
        if any(run.value is not None and not run.value > 0 for run in self.made):
            return "a run has a value that is not above 0"
        return ""
