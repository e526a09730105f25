"""What the runs of a tuning campaign show, computed from its record."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from campaigns.tune.measure import LIMIT_LOAD, Objective
from campaigns.tune.record import Gain, Phase, SeedGain, Tune, TuneRun
from report.compare.ratios import paired

SMALLEST = 0.01
"""Smallest gain that matters."""
FEWEST_PAIRS = 3
"""Pairs before a setting may be dropped for its interval."""
_PENALTY = 0.1
"""Below the worst score so far is the score of a setting whose run failed."""


@dataclass(frozen=True, slots=True)
class TuneScores:
    """Scores and gains; a score is a logarithm of which more is better."""

    tune: Tune
    objective: Objective

    def by_candidate(self) -> dict[int, list[float]]:
        """Return the scores of each setting that was screened, the default's too.

        A setting that missed a limit scores below the default, by how far it missed.
        """
        runs = [run for run in self.tune.made if run.phase == "screen"]
        known = [
            (place, self.objective.score(run.value))
            for place, run in enumerate(runs)
            if run.candidate == 0 and run.value is not None
        ]
        if not known:
            return {}
        places, values = zip(*known, strict=True)
        found: dict[int, list[float]] = {}
        failed = []
        for place, run in enumerate(runs):
            if run.value is None:
                failed.append(run.candidate)
                continue
            base = float(np.interp(place, places, values))
            if run.candidate == 0:
                base = statistics.fmean(values)
            score = self.objective.score(run.value) - base
            if run.candidate and self._misses(run):
                score = min(score, 0.0) - math.log(run.load or 1.0)
            found.setdefault(run.candidate, []).append(score)
        worst = min(min(scores) for scores in found.values()) - _PENALTY
        for candidate in failed:
            found.setdefault(candidate, []).append(worst)
        return found

    def noise(self) -> float:
        """Return the standard deviation of a run's score, from runs of the default."""
        own = self.by_candidate().get(0, [])
        return statistics.stdev(own) if len(own) > 1 else 0.0

    def _misses(self, run: TuneRun) -> bool:
        """Return whether a run missed a limit that is no part of the objective."""
        own = self.objective.name != LIMIT_LOAD
        return own and run.load is not None and run.load > 1

    def failed_in_screening(self, number: int) -> bool:
        """Return whether a run of the setting failed, or missed a limit."""
        runs = [run for run in self.tune.made if run.candidate == number]
        return any(run.value is None or self._misses(run) for run in runs)

    def lost(self, number: int, phase: Phase) -> str:
        """Return why the setting is dropped before all its pairs were made."""
        runs = [r for r in self.tune.made if r.phase == phase and r.against == number]
        own = [run for run in runs if run.candidate == number]
        if failed := [run.reason for run in own if run.value is None]:
            return f"a run failed: {failed[0]}"
        missed = [sum(map(self._misses, side)) for side in (own, runs)]
        if missed[0] > missed[1] - missed[0]:
            return "it misses the latency limits more often than the default"
        gain = self.gain(number, phase)
        if gain is None or gain.pairs < FEWEST_PAIRS or gain.high is None:
            return ""
        if gain.high < SMALLEST:
            return (
                f"a gain of {100 * gain.high:.1f}% at most is left after"
                f" {gain.pairs} pairs"
            )
        return ""

    def _differences(self, number: int, phase: Phase) -> list[tuple[int | None, float]]:
        found = []
        for run in self.tune.made:
            if (run.phase, run.candidate) != (phase, number) or run.value is None:
                continue
            base = self.made(number, 0, phase, run.seed, run.pair)
            if base is not None and base.value is not None:
                score = self.objective.score
                found.append((run.seed, score(run.value) - score(base.value)))
        return found

    def gain(self, number: int, phase: Phase) -> Gain | None:
        """Return the gain of a setting over the default in pairs; None: no pair."""
        differences = [math.exp(d) for _, d in self._differences(number, phase)]
        if not differences:
            return None
        estimate = paired([1.0] * len(differences), differences)
        known = len(differences) > 1
        return Gain(
            gain=estimate.ratio - 1,
            low=estimate.low - 1 if known else None,
            high=estimate.high - 1 if known else None,
            pairs=len(differences),
        )

    def by_seed(self, number: int, seeds: Sequence[int]) -> list[SeedGain]:
        """Return the gain with each of the other seeds."""
        pairs = self._differences(number, "seed")
        found = []
        for seed in seeds:
            own = [difference for other, difference in pairs if other == seed]
            if own:
                gain = math.expm1(statistics.fmean(own))
                found.append(SeedGain(seed=seed, gain=gain, pairs=len(own)))
        return found

    def made(
        self, against: int, side: int, phase: Phase, seed: int | None, pair: int
    ) -> TuneRun | None:
        """Return one side of a pair, if it was made."""
        wanted = (against, side, phase, seed, pair)
        return next(
            (
                run
                for run in self.tune.made
                if (run.against, run.candidate, run.phase, run.seed, run.pair) == wanted
            ),
            None,
        )
