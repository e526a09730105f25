"""Finds the best settings: screens them by single runs, confirms by runs in pairs.

1. **Screening**: two runs of the default, then one run of each setting that is
   proposed, with a run of the default after every `_EVERY` of them. A score is the
   logarithm of the objective over that of the default, which is interpolated between
   its runs: what drifts slowly falls out.
2. **Pairs**: the best setting of the screening may owe its score to noise. So only
   fresh runs count: the default and the setting alternate (A B B A A B ...), and the
   interval is Student's t over the differences of the pairs. The number of pairs is
   fixed beforehand, since looking at the interval until it pleases would make gains of
   noise. Pairs end early only where the upper end of the interval is below `SMALLEST`.
3. **Other seeds**: the same with other seeds of LoadGen, so that the gain is not one of
   the benchmark's own order and arrivals.

What comes next depends on the record alone, so a campaign resumes from it.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from base.errors import NotGood
from base.log import logger
from campaigns.progress import left_words, time_left
from campaigns.sweep.points import Point, label
from campaigns.tune.measure import Measurement, Objective
from campaigns.tune.record import Candidate, Phase, Tune, TuneResult, TuneRun
from campaigns.tune.scores import SMALLEST, TuneScores

_LOG = logger(__name__)

_BASELINES = 2
_EVERY = 4
_FEWEST_BOUND = 6
"""Settings that must have been screened before the bound may end the screening."""


class RunMaker(Protocol):
    """Makes the runs."""

    def run(self, point: Point, seed: int | None) -> Measurement:
        """Make one run with these settings, and these seeds of LoadGen."""


class Proposer(Protocol):
    """Proposes settings."""

    def next(self, tune: Tune, scores: dict[int, list[float]]) -> Candidate | None:
        """Return the next setting to screen; None: every one was tried."""

    def still_possible(
        self, tune: Tune, scores: dict[int, list[float]]
    ) -> float | None:
        """Return an upper bound of what is to be gained; None: unknown.

        Of the logarithm of the objective, beyond the best setting so far.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How many runs a campaign may make."""

    runs: int = 40
    """Most runs, those in pairs included."""
    pairs: int = 6
    """With the benchmark's seeds."""
    seeds: tuple[int, ...] = ()
    """Other ones."""
    budget_s: float | None = None
    """Start no run that would end later, in s; None: no limit."""

    @property
    def seed_pairs(self) -> int:
        """Pairs with each of the other seeds."""
        return math.ceil(self.pairs / len(self.seeds)) if self.seeds else 0

    @property
    def confirming(self) -> int:
        """Runs that the confirmation of one setting takes."""
        return 2 * (self.pairs + len(self.seeds) * self.seed_pairs)

    @property
    def screening(self) -> int:
        """Runs that are left for the screening."""
        return self.runs - self.confirming

    def left_s(self, tune: Tune) -> float | None:
        """Return how many seconds `tune` takes at most; None: not known yet."""
        made = [(run.candidate, run.seconds) for run in tune.made]
        left = time_left(made, [None] * (self.runs - len(made)))
        if left is not None and self.budget_s is not None:
            left = min(left, self.budget_s - sum(seconds for _, seconds in made))
        return None if left is None else max(0.0, left)


@dataclass(slots=True, kw_only=True)
class Tuner:
    """One campaign."""

    tune: Tune
    """The record, which is the state of the campaign."""
    objective: Objective
    """The figure that is to become better."""
    effort: Effort
    """How many runs may be made."""
    make: RunMaker
    """Makes one run."""
    propose: Proposer
    """Names the next setting to try."""
    save: Callable[[], None]
    """Writes the record."""
    _bound: float | None = field(default=None, init=False)

    @property
    def scores(self) -> TuneScores:
        """What the runs show so far."""
        return TuneScores(self.tune, self.objective)

    def find(self) -> TuneResult:
        """Make all runs; return what was found.

        Raises:
            NotGood: the default settings have no result.
            Aborted: a signal came.
        """
        self._screen()
        result = TuneResult(better=False, ended=self.tune.screening_ended)
        for number in self._ranked():
            if result.candidate is not None and not self._affordable(number):
                result.reason += "; too few runs are left to confirm the next setting"
                break
            result = self._confirmed(number)
            if result.better or result.reason.startswith("the budget"):
                break
        else:
            if result.candidate is None:
                result.reason = "no setting was faster than the default in its run"
                if self.objective.better == "lower":
                    result.reason = "no setting was better than the default in its run"
        bound = self._bound
        if bound is None:
            bound = self.propose.still_possible(self.tune, self.scores.by_candidate())
        result.still_possible = None if bound is None else math.expm1(bound)
        result.runs = len(self.tune.made)
        result.seconds = round(sum(run.seconds for run in self.tune.made), 1)
        result.ended = self.tune.screening_ended
        self.tune.result = result
        self.save()
        return result

    def smallest_shown(self) -> float:
        """Return the smallest gain that the pairs can be expected to show."""
        half = 2.0 * self.scores.noise() * math.sqrt(2 / self.effort.pairs)
        return max(math.log1p(SMALLEST), half)

    def _screen(self) -> None:
        tune = self.tune
        while not tune.screening_ended:
            runs = [run.candidate for run in tune.made if run.phase == "screen"]
            if (ended := self._enough(runs)) or not self._next_screened(runs):
                tune.screening_ended = ended or "every setting was tried"
                _LOG.info("screening ends: %s", tune.screening_ended)
                self.save()

    def _next_screened(self, runs: list[int]) -> bool:
        """Make one run to screen; return whether there was a setting left."""
        since = runs[::-1].index(0) if 0 in runs else 0
        if runs.count(0) < _BASELINES or since >= _EVERY:
            made = self._make(0, "screen")
            if made.value is None:
                raise NotGood(f"the default settings have no result: {made.reason}")
            return True
        waiting = len(self.tune.candidates) - 1
        if waiting not in runs and waiting:
            number = waiting  # It was proposed before an interruption.
        else:
            found = self.propose.next(self.tune, self.scores.by_candidate())
            if found is None:
                return False
            self.tune.candidates.append(found)
            number = len(self.tune.candidates) - 1
        self._make(number, "screen")
        return True

    def _enough(self, runs: list[int]) -> str:
        """Return why no more settings are screened; empty: go on."""
        if len(runs) >= self.effort.screening:
            return "the remaining runs are needed for the confirmation"
        if not self._in_time(1 + self.effort.confirming):
            return "the remaining time is needed for the confirmation"
        if len(set(runs)) <= _FEWEST_BOUND:
            return ""
        self._bound = self.propose.still_possible(self.tune, self.scores.by_candidate())
        smallest = self.smallest_shown()
        if self._bound is not None and self._bound < smallest:
            return (
                f"another setting gains {100 * math.expm1(self._bound):.1f}% at most,"
                f" below the {100 * math.expm1(smallest):.1f}% that"
                f" {self.effort.pairs} pairs can show"
            )
        return ""

    def _in_time(self, runs: int) -> bool:
        if self.effort.budget_s is None or not self.tune.made:
            return True
        seconds = [run.seconds for run in self.tune.made]
        return sum(seconds) + runs * statistics.median(seconds) <= self.effort.budget_s

    def _ranked(self) -> list[int]:
        """Return the settings that scored above the default, best first."""
        scores = {
            number: statistics.fmean(s)
            for number, s in self.scores.by_candidate().items()
        }
        able = [
            number
            for number, score in scores.items()
            if number and score > 0 and not self.scores.failed_in_screening(number)
        ]
        return sorted(able, key=lambda number: -scores[number])

    def _affordable(self, number: int) -> bool:
        """Return whether a setting can still be confirmed, or was begun to be."""
        begun = sum(run.against == number for run in self.tune.made)
        wanted = self.effort.confirming - begun
        left = self.effort.runs - len(self.tune.made)
        dropped = bool(self.tune.candidates[number].rejected)
        return dropped or (left >= wanted and self._in_time(wanted))

    def _confirmed(self, number: int) -> TuneResult:
        """Return what pairs of the setting and the default show."""
        candidate = self.tune.candidates[number]
        result = TuneResult(better=False, candidate=number, point=candidate.point)
        own = [(None, n) for n in range(self.effort.pairs)]
        others = [
            (seed, n)
            for n in range(self.effort.seed_pairs)
            for seed in self.effort.seeds
        ]
        reason = candidate.rejected or self._pairs(number, "pair", own)
        result.own = self.scores.gain(number, "pair")
        if not reason and result.own is not None and not result.own.is_better:
            reason = "not better than the default beyond noise"
        if not reason and others:
            reason = self._pairs(number, "seed", others)
            result.others = self.scores.gain(number, "seed")
            result.seeds = self.scores.by_seed(number, self.effort.seeds)
            if not reason and (result.others is None or not result.others.is_better):
                reason = "not better than the default beyond noise on other seeds"
        result.better, result.reason = not reason, reason
        if reason and not reason.startswith("the budget"):
            candidate.rejected = reason
            self.save()
        return result

    def _pairs(
        self, number: int, phase: Phase, wanted: Sequence[tuple[int | None, int]]
    ) -> str:
        """Make the pairs that are missing; return why the setting is dropped."""
        for place, (seed, pair) in enumerate(wanted):
            order = [0, number] if place % 2 == 0 else [number, 0]
            for side in order:
                if self.scores.made(number, side, phase, seed, pair) is not None:
                    continue
                if len(self.tune.made) >= self.effort.runs or not self._in_time(1):
                    return "the budget was used up before the gain was shown"
                made = self._make(side, phase, number, seed, pair)
                if made.value is None and side == 0:
                    raise NotGood(f"the default settings have no result: {made.reason}")
            if reason := self.scores.lost(number, phase):
                return reason
        return ""

    def _make(
        self,
        candidate: int,
        phase: Phase,
        against: int = 0,
        seed: int | None = None,
        pair: int = 0,
    ) -> TuneRun:
        point = self.tune.candidates[candidate].point
        words = [label(point) or "the default"]
        if phase != "screen":
            words.append(f"pair {pair + 1}" + (f", seed {seed}" if seed else ""))
        _LOG.info(
            "== run %d of %d at most: %s%s",
            len(self.tune.made) + 1,
            self.effort.runs,
            ", ".join(words),
            left_words(self.effort.left_s(self.tune)),
        )
        shown = self.make.run(point, seed)
        made = TuneRun(
            candidate=candidate,
            phase=phase,
            pair=pair,
            against=against,
            seed=seed,
            run=shown.run,
            seconds=shown.seconds,
            value=None if shown.reason else shown.value,
            load=shown.load,
            reason=shown.reason,
            figures=shown.figures,
        )
        self.tune.made.append(made)
        self.save()
        if made.reason:
            _LOG.info("   does not count: %s", made.reason)
        elif made.value is not None:
            _LOG.info("   %s %.5g", self.objective.name, made.value)
        return made
