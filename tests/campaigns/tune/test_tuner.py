"""The procedure of a tuning campaign, on runs that are numbers with noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

from base.errors import NotGood
from campaigns.sweep.points import Point
from campaigns.tune.measure import Measurement, Objective
from campaigns.tune.record import Candidate, Tune
from campaigns.tune.scores import TuneScores
from campaigns.tune.tuner import Effort, Tuner

EFFORT = Effort(runs=40, pairs=6, seeds=(11, 12, 13))


@dataclass
class Runs:
    """Runs of settings `{"x": N}`, whose gain is known."""

    gains: Sequence[float]
    """Of the logarithm, by N; the default has 0."""
    noise: float = 0.01
    drift: float = 0.0
    """Of the logarithm, from run to run."""
    bad: tuple[str, ...] = ()
    """Settings whose runs fail."""
    load: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    made: list[tuple[Point, int | None]] = field(default_factory=list)

    def run(self, point: Point, seed: int | None) -> Measurement:
        generator = np.random.default_rng((self.seed, len(self.made)))
        drift = self.drift * len(self.made)
        self.made.append((point, seed))
        name = point.get("x", "")
        gain = self.gains[int(name)] if name else 0.0
        value = 100 * math.exp(gain + drift + generator.normal(0, self.noise))
        return Measurement(
            run=f"r{len(self.made)}",
            seconds=10.0,
            value=value,
            load=self.load.get(name, 0.5),
            reason="out of memory" if name in self.bad else "",
            figures={},
        )


@dataclass
class InTurn:
    """Proposes 0, 1, 2 ..."""

    count: int
    bound: float | None = None

    def next(self, tune: Tune, scores: dict[int, list[float]]) -> Candidate | None:
        number = len(tune.candidates) - 1
        if number >= self.count:
            return None
        return Candidate(point={"x": str(number)}, origin="optuna")

    def still_possible(
        self, tune: Tune, scores: dict[int, list[float]]
    ) -> float | None:
        return self.bound


def _tune(objective: str = "tokens_per_s") -> Tune:
    found = Objective(objective)
    return Tune(
        shared=[],
        knobs=[],
        where=[],
        objective=objective,
        better=found.better,
        limits=[],
    )


def _tuner(
    runs: Runs,
    tune: Tune | None = None,
    effort: Effort = EFFORT,
    bound: float | None = None,
) -> Tuner:
    tune = tune or _tune()
    return Tuner(
        tune=tune,
        objective=Objective(tune.objective),
        effort=effort,
        make=runs,
        propose=InTurn(len(runs.gains), bound),
        save=lambda: None,
    )


def test_the_best_setting_is_found_and_confirmed_on_other_seeds() -> None:
    runs = Runs([-0.05, 0.02, 0.1, 0.0])
    result = _tuner(runs).find()
    assert result.better
    assert result.point == {"x": "2"}
    assert result.own is not None
    assert result.own.low is not None
    assert result.own.high is not None
    assert result.own.low < math.expm1(0.1) < result.own.high
    assert result.others is not None
    assert result.others.is_better
    assert [seed.seed for seed in result.seeds] == [11, 12, 13]
    assert result.ended == "every setting was tried"
    # The default and the setting alternate: A B B A A B ...
    pairs = [point.get("x", "default") for point, seed in runs.made[-24:-12]]
    assert pairs == ["default", "2", "2", "default"] * 3


def test_drift_gives_no_setting_a_gain() -> None:
    found = [
        _tuner(Runs([0.0] * 8, noise=0.001, drift=0.02, seed=seed)).find().better
        for seed in range(5)
    ]
    assert not any(found)


def test_noise_is_seldom_taken_for_a_gain() -> None:
    found = [
        _tuner(Runs([0.0] * 10, noise=0.03, seed=seed)).find() for seed in range(12)
    ]
    assert sum(result.better for result in found) <= 1


def test_pairs_end_early_where_no_gain_is_left() -> None:
    result = _tuner(Runs([0.004, 0.0], noise=0.0005)).find()
    assert not result.better
    assert "at most is left after 3 pairs" in result.reason


def test_where_lower_is_better_a_gain_is_a_smaller_value() -> None:
    runs = Runs([-0.1, 0.1], load={"0": 2.0})
    result = _tuner(runs, _tune("limit_load")).find()
    assert result.point == {"x": "0"}
    assert result.own is not None
    assert result.own.gain == pytest.approx(math.expm1(0.1), abs=0.02)


def test_a_setting_that_misses_the_limits_or_fails_is_not_found() -> None:
    runs = Runs([0.2, 0.3, 0.1, 0.05], load={"0": 1.2}, bad=("1",))
    tuner = _tuner(runs)
    assert tuner.find().point == {"x": "2"}
    scores = tuner.scores.by_candidate()
    assert scores[1][0] < 0
    assert scores[2][0] == min(map(min, scores.values()))


def test_screening_ends_where_little_is_left_to_gain() -> None:
    runs = Runs([0.05] + [0.0] * 30)
    tuner = _tuner(runs, bound=0.001)
    assert tuner.find().better
    screened = {r.candidate for r in tuner.tune.made if r.phase == "screen"}
    assert len(screened) == 7
    assert "another setting gains 0.1% at most" in tuner.tune.screening_ended


def test_the_number_of_runs_and_the_time_are_kept() -> None:
    runs = Runs([0.01 * n for n in range(40)])
    result = _tuner(runs).find()
    assert result.runs == 40
    assert result.better
    short = Effort(runs=40, pairs=3, seeds=(), budget_s=100.0)
    tuner = _tuner(Runs([0.2, 0.0, 0.0]), effort=short)
    assert tuner.find().runs == 10
    assert tuner.tune.screening_ended.startswith("the remaining time")


def test_a_budget_that_is_too_short_says_so() -> None:
    tuner = _tuner(Runs([0.1, 0.0]))
    assert tuner.find().runs == 28
    del tuner.tune.made[4:]
    tuner.effort = Effort(runs=12, pairs=6, seeds=())
    result = tuner.find()
    assert (result.better, result.runs) == (False, 12)
    assert result.reason == "the budget was used up before the gain was shown"


def test_no_setting_is_begun_that_cannot_be_confirmed_any_more() -> None:
    tuner = _tuner(Runs([0.0, 0.0, 0.0, 0.0], noise=0.03, seed=3))
    tuner.effort = Effort(runs=30, pairs=6, seeds=(11, 12, 13))
    result = tuner.find()
    assert not result.better
    assert result.own is not None
    assert result.reason.endswith("; too few runs are left to confirm the next setting")
    assert {run.against for run in tuner.tune.made} == {0, result.candidate}


def test_a_default_that_fails_has_no_result() -> None:
    with pytest.raises(NotGood, match="the default settings have no result: out of"):
        _tuner(Runs([0.1], bad=("",))).find()


@pytest.mark.parametrize("count", range(0, 30, 3))
def test_an_interrupted_campaign_resumes_from_its_record(count: int) -> None:
    whole = _tune()
    _tuner(Runs([-0.05, 0.02, 0.1, 0.0]), whole).find()
    part = msgspec.json.decode(msgspec.json.encode(whole), type=Tune)
    part.result = None
    del part.made[count:]
    screened = {run.candidate for run in part.made if run.phase == "screen"}
    if len(part.made) < len([r for r in whole.made if r.phase == "screen"]):
        part.screening_ended = ""
    del part.candidates[max(screened, default=0) + 1 :]
    runs = Runs([-0.05, 0.02, 0.1, 0.0])
    runs.made = [({}, None)] * count
    assert _tuner(runs, part).find() == whole.result
    assert part.made == whole.made


def test_the_default_is_interpolated_between_its_runs() -> None:
    tune = _tune()
    _tuner(Runs([0.0] * 12, noise=0.0, drift=0.01), tune).find()
    scores = TuneScores(tune, Objective("tokens_per_s")).by_candidate()
    between = [scores[n][0] for n in scores if 0 < n < 9]
    assert between == pytest.approx([0.0] * len(between), abs=1e-9)
