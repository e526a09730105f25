"""Predicts settings by simulation, from the engine steps of runs that were screened."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.errors import SutError, UserError
from base.log import logger
from campaigns.sweep.points import Point
from campaigns.tune.knobs import Knob, grid
from campaigns.tune.measure import Objective, load_of
from campaigns.tune.record import Tune
from forecast.evidence import Evidence, read_evidence
from forecast.limits import Limits
from forecast.request import make_target
from forecast.target import simulate

_LOG = logger(__name__)

_KNOWN = {
    *("engine.options.max_num_seqs", "engine.options.max_num_batched_tokens"),
    *("engine.max_num_seqs", "engine.max_num_batched_tokens", "cluster.balancer"),
    "engine.adaptive_batching",
}
"""Knobs that the forecast predicts. It does not know what replicas on shared cores
lose, so the number of replicas is not one of them."""
_MOST_SAMPLES = 4000
"""Of a run that is simulated; more would take too long."""
_MOST_POINTS = 150
_AS_GOOD = 0.002
"""Scores that differ by less are the same."""


def known_knobs(knobs: Sequence[Knob]) -> list[Knob]:
    """Return the knobs that the forecast predicts."""
    return [knob for knob in knobs if knob.option in _KNOWN]


@dataclass(slots=True, kw_only=True)
class ForecastSimulator:
    """Implements `campaigns.tune.proposals.Simulator`."""

    knobs: Sequence[Knob]
    """That the forecast predicts."""
    allowed: Callable[[Point], bool]
    """Whether these knobs may have these values, with others as they are by default."""
    objective: Objective
    limits: Limits | None
    """Of the user's own; None: those of the runs."""
    folder: Callable[[str], Path]
    """Returns the folder of a run."""
    _evidence: dict[str, Evidence | None] = field(default_factory=dict, init=False)
    _predicted: dict[tuple[str, str], float | None] = field(
        default_factory=dict, init=False
    )

    def best(
        self, tune: Tune, scores: Mapping[int, Sequence[float]]
    ) -> tuple[Point, float] | None:
        """Return the best values of its knobs that it did not propose before.

        The simulations have the step times of the best setting so far that recorded
        its steps.
        """
        source = self._source(tune, scores)
        if source is None or not self.knobs:
            return None
        points = [point for point in grid(self.knobs) if self.allowed(point)]
        stride = max(1, -(-len(points) // _MOST_POINTS))
        own = {knob.option for knob in self.knobs}
        # Where it knows every knob, a setting that was tried needs no second run.
        taken = [
            c.point
            for c in tune.candidates
            if c.origin == "simulator" or set(c.point) == own
        ]
        found = []
        for point in points[::stride]:
            if any(point.items() <= other.items() for other in taken):
                continue
            value = self._value(source, point)
            if value is not None:
                found.append((self.objective.score(value), point, value))
        if not found:
            return None
        most = max(score for score, _, _ in found)
        # Of settings that are equally good the first one is the least extreme.
        return next((p, v) for score, p, v in found if score >= most - _AS_GOOD)

    def _source(self, tune: Tune, scores: Mapping[int, Sequence[float]]) -> str | None:
        order = sorted(scores, key=lambda n: -statistics.fmean(scores[n]))
        for number in order:
            for run in tune.made:
                own = run.candidate == number and run.run is not None
                if own and not run.reason and self._read(run.run or "") is not None:
                    return run.run
        return None

    def _read(self, run: str) -> Evidence | None:
        if run not in self._evidence:
            try:
                self._evidence[run] = read_evidence(self.folder(run))
            except SutError as error:
                _LOG.info("no forecast from %s: %s", run, error)
                self._evidence[run] = None
        return self._evidence[run]

    def _value(self, run: str, point: Point) -> float | None:
        key = run, repr(point)
        if key not in self._predicted:
            self._predicted[key] = self._simulated(run, point)
        return self._predicted[key]

    def _simulated(self, run: str, point: Point) -> float | None:
        evidence = self._read(run)
        if evidence is None or len(evidence.issued) > _MOST_SAMPLES:
            return None
        try:
            options = [f"{name}={value}" for name, value in point.items()]
            target = make_target(evidence, options)
        except UserError:
            return None
        samples = simulate(evidence, target)
        limits = self.limits or (target.limits if target.server else None)
        value = self.objective.value(samples, limits)
        load = load_of(samples, limits)
        if value is None or load is None or self.objective.name == "limit_load":
            return value
        # A setting that misses a limit is as bad as it misses it.
        over = max(1.0, load)
        return value / over if self.objective.better == "higher" else value * over
