"""Campaigns find the rate that long simulations show, in simulated time."""

import numpy as np
import pytest

from benchmarks.rate_search import (
    TOLERANCE,
    Engine,
    found_in_simulation,
    random_engine,
    simulate,
)
from sut.engines.synthetic import SyntheticEngine
from sut.wire.messages import EngineSpec, Request

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("seed", "true"),
    # What `true_rate` says, which takes longer than the search itself.
    [(0, 82.59), (4, 24.45), (9, 67.83), (15, 10.72), (17, 190.1)],
)
def test_the_confirmed_rate_is_the_true_one(seed: int, true: float) -> None:
    engine = random_engine(seed)
    start = true * (0.2, 5.0)[seed % 2]
    found, runs = found_in_simulation(engine, 500 + seed, start, 20_000.0)
    assert found.sustained_qps == pytest.approx(true, rel=TOLERANCE)
    assert found.runs == 3
    assert found.sustained_qps is not None
    assert found.valid_qps is not None
    assert found.valid_qps >= found.sustained_qps * 0.999
    assert [run.phase for run in runs[-2:]] == ["confirm", "confirm"]


def test_a_rate_that_would_take_too_long_is_not_found() -> None:
    found, runs = found_in_simulation(random_engine(18), 1, 5.0, 600.0)
    assert found.sustained_qps is None
    assert "longer than longest_s=600" in found.reason
    assert all((run.queries or 0) / (run.rate or 1) <= 601 for run in runs)


def test_the_simulated_engine_is_the_products_own() -> None:
    engine = Engine(
        step_s=0.01,
        prefill_s=1e-5,
        decode_s=1e-4,
        max_seqs=7,
        budget=900,
        tokens=20,
        prompt=400,
        ttft_s=1.0,
        tpot_s=1.0,
    )
    issued = np.cumsum(np.random.default_rng(3).exponential(0.04, 300))
    first, done = simulate(engine, issued)
    spec = EngineSpec(
        engine="synthetic",
        model_path="",
        dummy_weights=True,
        dtype="",
        max_model_len=8192,
        gpus=0,
        streaming=True,
        min_tokens=20,
        max_tokens=20,
        ignore_eos=True,
        stop_token_ids=[],
        seed=0,
        options={
            "step_s": 0.01,
            "prefill_s_per_token": 1e-5,
            "decode_s_per_sequence": 1e-4,
            "max_num_seqs": 7,
            "max_num_batched_tokens": 900,
            "output_tokens": 20,
        },
    )
    real, now, place = SyntheticEngine(spec), 0.0, 0
    firsts, ends = np.zeros(300), np.zeros(300)
    while place < 300 or real.busy:
        if not real.busy:
            now = max(now, float(issued[place]))
        while place < 300 and issued[place] <= now:
            real.queue(Request(place, 1, bytes(1600)), now)
            place += 1
        now += real.begin_step(now)
        begun, ended = real.end_step(now)
        firsts[[one.seq for one in begun]] = now
        ends[[one.seq for one in ended]] = now
    assert first == pytest.approx(firsts, abs=1e-6)
    assert done == pytest.approx(ends, abs=1e-6)
