import itertools
from dataclasses import replace

import numpy as np
import pytest

from forecast.adaptive import AdaptiveModelEngine, as_step_model
from forecast.engine import ModelEngine
from forecast.simulation import Result, Simulation
from sut.balancers import make_balancer
from sut.engines.prefill_budget import PrefillBudget
from tests.forecast.made_up import SHAPE, model

LIMIT_S, TOKENS = 0.03, 64
MODEL = model(0.003, 13e-6, 11e-6, 0.0, 20e-9)


def _result(adaptive: bool, asynchronous: bool, most: int = 8192) -> Result:
    shape = replace(
        SHAPE,
        max_num_batched_tokens=most,
        max_num_seqs=512,
        kv_blocks=None,
        asynchronous=asynchronous,
        streaming=True,
    )
    noise = itertools.repeat((1.0, 0.0))
    outputs = [TOKENS] * 400
    engine = ModelEngine(shape, MODEL, outputs, noise)
    if adaptive:
        budget = PrefillBudget(as_step_model(MODEL, 800), LIMIT_S, TOKENS, most)
        engine = AdaptiveModelEngine(shape, MODEL, outputs, noise, budget)
    simulation = Simulation(
        [engine], make_balancer(None, True), [800] * 400, outputs, by_demand=False
    )
    arrivals = np.arange(400) / 100
    return simulation.run(arrivals, np.arange(400))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_tpot_keeps_its_limit_where_a_large_budget_does_not(asynchronous: bool) -> None:
    fixed, adaptive = (_result(kind, asynchronous) for kind in (False, True))
    assert fixed.tpot_s(99, TOKENS) > 1.5 * LIMIT_S
    assert adaptive.tpot_s(100, TOKENS) < 1.005 * LIMIT_S
    assert adaptive.tpot_s(50, TOKENS) > 0.9 * LIMIT_S, "and no more than it must"
    assert (adaptive.completed > adaptive.first).all()


def test_the_cost_of_a_prompt_is_spread_over_its_tokens() -> None:
    found = as_step_model(model(1.0, 2.0, 3.0, 40.0, 5.0), 20.0)
    assert (found.step_s, found.prefill_s) == (1.0, 4.0)
    assert (found.decode_s, found.cached_s) == (3.0, 5.0)
