"""Proposes settings by Optuna, and by simulation where the forecast knows the knob.

Optuna's Gaussian process (`GPSampler`) models the scores; it needs torch, which every
engine brings. Without torch its tree-structured Parzen estimator proposes, and there is
no bound. The study is made again from the record for each proposal, so that the record
is the only state. A simulator's proposal fixes the knobs that it knows; Optuna chooses
the others.
"""

import importlib.util
import random
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from base.errors import UserError
from campaigns.sweep.points import Point
from campaigns.tune.knobs import Knob, Space
from campaigns.tune.record import Candidate, Tune

_ASKED = 8
"""How often Optuna is asked for a setting that is allowed and was not tried."""
_DRAWN = 2000
_STARTUP = 3
"""Settings before the Gaussian process proposes."""
_FLOOR = -0.3
"""Score below which it does not matter how bad a setting is: an engine whose queue
grows would otherwise decide the model."""
_SIMULATED_FIRST = 2
"""Settings of the simulator that come first; then it and Optuna take turns."""


class Simulator(Protocol):
    """Predicts settings."""

    def best(
        self, tune: Tune, scores: Mapping[int, Sequence[float]]
    ) -> tuple[Point, float] | None:
        """Return the best values of the knobs that it knows, and the objective.

        What it proposed before is left out.
        """


@dataclass(slots=True, kw_only=True)
class OptunaProposer:
    """Implements `campaigns.tune.tuner.Proposer`."""

    space: Space
    seed: int = 0
    simulator: Simulator | None = None
    gaussian: bool | None = None
    """Whether to use the Gaussian process; None: where torch is installed."""

    def next(self, tune: Tune, scores: dict[int, list[float]]) -> Candidate | None:
        """Return the next setting to screen; None: every one was tried."""
        tried = [candidate.point for candidate in tune.candidates]
        left = self.space.points()
        if left is not None:
            left = [point for point in left if point not in tried]
            if not left:
                return None
        hint = self._simulated(tune, scores)
        with _quiet() as optuna:
            study = self._study(optuna, tune, scores)
            if hint is not None:
                study.enqueue_trial(self._parameters(hint[0]))
            for _ in range(_ASKED):
                trial = study.ask(self._distributions(optuna))
                point = self._point(trial.params)
                if point not in tried and self.space.allowed(point):
                    by_simulator = hint is not None and hint[0].items() <= point.items()
                    return Candidate(
                        point=point,
                        origin="simulator" if by_simulator else "optuna",
                        predicted=hint[1] if by_simulator and hint else None,
                    )
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return self._drawn(tried, left)

    def still_possible(
        self, tune: Tune, scores: dict[int, list[float]]
    ) -> float | None:
        """Return Optuna's regret bound: what is to be gained, with 90% confidence.

        Source: Makarova et al. (2022), "Automatic termination for hyperparameter
        optimization".
        """
        if not self._gaussian or len(scores) <= _STARTUP:
            return None
        with _quiet() as optuna:
            study = self._study(optuna, tune, scores)
            evaluator = optuna.terminator.RegretBoundEvaluator(seed=self.seed)
            return float(evaluator.evaluate(study.trials, study.direction))

    @property
    def _gaussian(self) -> bool:
        if self.gaussian is None:
            return importlib.util.find_spec("torch") is not None
        return self.gaussian

    def _simulated(
        self, tune: Tune, scores: dict[int, list[float]]
    ) -> tuple[Point, float] | None:
        proposed = tune.candidates[1:]
        if self.simulator is None:
            return None
        if len(proposed) >= _SIMULATED_FIRST and len(proposed) % 2:
            return None
        return self.simulator.best(tune, scores)

    def _drawn(
        self, tried: Sequence[Point], left: Sequence[Point] | None
    ) -> Candidate | None:
        generator = random.Random(f"{self.seed} {len(tried)}")
        if left is not None:
            return Candidate(point=generator.choice(left), origin="optuna")
        for _ in range(_DRAWN):
            point = self.space.draw(generator)
            if point not in tried and self.space.allowed(point):
                return Candidate(point=point, origin="optuna")
        return None

    def _study(
        self, optuna: Any, tune: Tune, scores: Mapping[int, Sequence[float]]
    ) -> Any:
        seed = 1000 * self.seed + len(tune.made)
        if self._gaussian:
            sampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=_STARTUP)
        else:
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        distributions = self._distributions(optuna)
        for number, values in scores.items():
            if number:
                study.add_trial(
                    optuna.trial.create_trial(
                        params=self._parameters(tune.candidates[number].point),
                        distributions=distributions,
                        value=max(_FLOOR, statistics.fmean(values)),
                    )
                )
        return study

    def _distributions(self, optuna: Any) -> dict[str, Any]:
        return {knob.option: _distribution(optuna, knob) for knob in self.space.knobs}

    def _parameters(self, point: Point) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for knob in self.space.knobs:
            if knob.option not in point:
                continue
            text = point[knob.option]
            if knob.values:
                found[knob.option] = (
                    knob.values.index(text) if knob.is_ordered else text
                )
            else:
                found[knob.option] = int(text) if knob.whole else float(text)
        return found

    def _point(self, parameters: Mapping[str, Any]) -> Point:
        point = {}
        for knob in self.space.knobs:
            value = parameters[knob.option]
            if not knob.values:
                point[knob.option] = knob.text(value)
            else:
                point[knob.option] = knob.values[value] if knob.is_ordered else value
        return point


def _distribution(optuna: Any, knob: Knob) -> Any:
    """Return the distribution of a knob: of ordered values that of their places."""
    distributions = optuna.distributions
    if knob.values and knob.is_ordered:
        return distributions.IntDistribution(0, len(knob.values) - 1)
    if knob.values:
        return distributions.CategoricalDistribution(list(knob.values))
    if knob.whole:
        low, high, step = round(knob.low), round(knob.high), round(knob.step) or 1
        return distributions.IntDistribution(low, high, log=knob.log, step=step)
    return distributions.FloatDistribution(
        knob.low, knob.high, log=knob.log, step=knob.step or None
    )


@contextmanager
def _quiet() -> Iterator[Any]:
    """Yield Optuna, which then logs and warns of nothing.

    Raises:
        UserError: it is not installed.
    """
    try:
        import optuna
        import optuna.terminator
    except ImportError as error:
        raise UserError(
            "campaigns.tune needs Optuna; install the extra [tune], e.g."
            " pip install 'mlperf-loadgen-sut[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield optuna


def check_optuna() -> None:
    """Check that Optuna is installed.

    Raises:
        UserError: it is not.
    """
    if importlib.util.find_spec("optuna") is None:
        with _quiet():
            pass
