import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from forecast.step_time import fit_step_time
from record.steps import STEP, Steps

TRUE = np.array([0.01, 1e-5, 1e-4, 3e-4, 2e-8])
BLOCK, BLOCKS = 16, 20_000


def _steps(
    seed: int,
    noise: float,
    gap_s: float = 0.0,
    count: int = 3000,
    late: float = 0.0,
    hold: int = 8,
) -> Steps:
    """Return steps of the model above.

    Args:
        seed: of the work.
        noise: standard deviation of the logarithm of a duration.
        gap_s: between steps.
        count: of steps.
        late: share of a step's time that the record of the step before has.
        hold: steps with the same work.
    """
    rng = np.random.default_rng(seed)
    steps = np.zeros(count, STEP)
    points = -(-count // hold)

    def held(values: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.repeat(values, hold)[:count]

    some = rng.random(points) < 0.6
    prefill = held(np.where(some, rng.integers(1, 8192, points), 0))
    prompts = held(np.where(some, rng.integers(1, 9, points), 0))
    decode = held(rng.integers(0, 500, points))
    cached = held(rng.integers(0, 15_000, points))
    steps["prefill_tokens"], steps["decode_sequences"] = prefill, decode
    steps["running"] = decode + prompts
    steps["kv_blocks_free"] = BLOCKS - cached
    work = np.stack([np.ones(count), prefill, decode, prompts, cached * BLOCK])
    seconds = TRUE @ work
    seconds = (1 - late) * seconds + late * np.roll(seconds, -1)
    seconds *= np.exp(rng.normal(0, noise, count))
    steps["duration_ns"] = np.round(seconds * 1e9)
    steps["start_ns"] = np.cumsum(np.r_[0, seconds[:-1] + gap_s]) * 1e9
    return steps


@pytest.mark.parametrize("seed", range(3))
def test_known_coefficients_are_found(seed: int) -> None:
    model = fit_step_time(_steps(seed, noise=0.03), BLOCKS * BLOCK, BLOCK)
    assert model.coefficients == pytest.approx(TRUE, rel=0.05)
    assert model.overhead_s == pytest.approx(0, abs=1e-8)
    assert 0.01 < model.error < 0.03


def test_steps_that_end_late_do_not_make_prompts_cheaper() -> None:
    steps = _steps(0, noise=0.03, late=0.4, hold=1, count=20_000)
    model = fit_step_time(steps, BLOCKS * BLOCK, BLOCK)
    assert model.coefficients[1] == pytest.approx(TRUE[1], rel=0.08)


def test_padding_to_a_cuda_graph_costs_as_much_as_prompts() -> None:
    steps = _steps(0, noise=0.01)
    tokens = steps["prefill_tokens"] + steps["decode_sequences"]
    sizes = np.array([512, 2048, 4096, 8192, 16384])
    padded = sizes[np.searchsorted(sizes, tokens)]
    steps["duration_ns"] += np.round(1e9 * TRUE[1] * (padded - tokens)).astype(np.int64)
    known = fit_step_time(steps, BLOCKS * BLOCK, BLOCK, sizes.tolist())
    assert known.coefficients == pytest.approx(TRUE, rel=0.05)
    unknown = fit_step_time(steps, BLOCKS * BLOCK, BLOCK)
    assert known.error < 0.5 * unknown.error


def test_steps_far_off_do_not_bend_it() -> None:
    steps = _steps(1, noise=0.02)
    steps["duration_ns"][::29] *= 12
    model = fit_step_time(steps, BLOCKS * BLOCK, BLOCK)
    assert model.coefficients == pytest.approx(TRUE, rel=0.05)
    assert model.factors.max() < 1.3
    assert (model.extra_s > 0.05).sum() > 90, "they stay in the noise"


def test_the_time_between_steps_counts() -> None:
    model = fit_step_time(_steps(2, noise=0.02, gap_s=0.002), BLOCKS * BLOCK, BLOCK)
    assert model.overhead_s == pytest.approx(0.002, rel=0.01)
    plain = model.coefficients @ [1, 100, 20, 2, 5000]
    assert model.duration_s(100, 20, 2, 5000) == pytest.approx(plain + 0.002, rel=0.01)


def test_an_engine_without_a_cache() -> None:
    steps = _steps(3, noise=0.02)
    steps["kv_blocks_free"] = -1
    model = fit_step_time(steps)
    assert model.coefficients[4] == 0
    assert (model.coefficients >= 0).all()


def test_noise_comes_in_recorded_stretches() -> None:
    model = fit_step_time(_steps(4, noise=0.05), BLOCKS * BLOCK, BLOCK)
    drawn = list(itertools.islice(model.noise(np.random.default_rng(0)), 64))
    begin = int(np.flatnonzero(model.factors == drawn[0][0])[0])
    stretch = slice(begin, begin + 64)
    assert [factor for factor, _ in drawn] == model.factors[stretch].tolist()
    assert [extra for _, extra in drawn] == model.extra_s[stretch].tolist()
