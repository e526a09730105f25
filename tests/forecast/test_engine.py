import itertools
from dataclasses import replace

import numpy as np
import pytest

from forecast.engine import ModelEngine
from forecast.simulation import Produced, Simulation
from sut.balancers import make_balancer
from sut.coordinator.dispatcher import Sample
from tests.forecast.made_up import SHAPE, model


def _engine(outputs: list[int], **changes: object) -> ModelEngine:
    shape = replace(SHAPE, **changes)  # type: ignore[arg-type]
    return ModelEngine(
        shape, model(1.0, 0, 0, 0, 0), outputs, itertools.repeat((1.0, 0.0))
    )


def _queue(engine: ModelEngine, *prompts: int) -> None:
    for number, prompt in enumerate(prompts):
        engine.queue(Sample(number, number, number, prompt, 0), 0.0)


def _steps(engine: ModelEngine) -> list[tuple[int, int, Produced]]:
    """Do steps until nothing is left; return prompt tokens, decodes, and what came."""
    found = []
    while engine.busy:
        engine.begin_step(0.0)
        plan = engine._current
        found.append((plan.prefill, plan.decode, engine.end_step(0.0)))
        assert len(found) < 10_000
    return found


def test_prompts_are_chunked_under_the_budget() -> None:
    engine = _engine([3, 3], max_num_batched_tokens=100)
    _queue(engine, 150, 120)
    steps = _steps(engine)
    assert [(p, d) for p, d, _ in steps] == [
        # The second prompt begins in what the first one leaves.
        *((100, 0), (100, 0), (70, 1), (0, 2), (0, 1)),
    ]
    assert [len(made.first) for *_, made in steps] == [0, 1, 1, 0, 0]
    assert [made.done for *_, made in steps if made.done] == [[(0, 0, 3)], [(1, 0, 3)]]


def test_no_more_sequences_than_allowed() -> None:
    engine = _engine([4] * 5, max_num_seqs=2)
    _queue(engine, *[10] * 5)
    steps = _steps(engine)
    assert max(p // 10 + d for p, d, _ in steps) == 2
    assert sum(p for p, _, _ in steps) == 50
    assert sum(d for _, d, _ in steps) == 5 * 3


def test_an_answer_of_one_token_ends_with_its_prompt() -> None:
    engine = _engine([1])
    _queue(engine, 20)
    assert [(p, d, m.first, m.done) for p, d, m in _steps(engine)] == [
        (20, 0, [(0, 0)], [(0, 0, 1)])
    ]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("blocks", [None, 400, 40, 26])
def test_every_token_is_made_once_and_every_block_comes_back(
    asynchronous: bool, blocks: int | None
) -> None:
    rng = np.random.default_rng(3)
    outputs = rng.integers(1, 120, 60).tolist()
    prompts = rng.integers(1, 250, 60).tolist()
    engine = _engine(
        outputs,
        kv_blocks=blocks,
        asynchronous=asynchronous,
        max_num_batched_tokens=300,
        max_num_seqs=16,
    )
    _queue(engine, *prompts)
    steps = _steps(engine)
    first = [one for *_, made in steps for one in made.first]
    done = [one for *_, made in steps for one in made.done]
    assert sorted(first) == [(n, 0) for n in range(60)]
    assert sorted(done) == [(n, 0, outputs[n]) for n in range(60)]
    assert engine._free == blocks
    assert engine._cached == 0
    assert engine._holding == 0
    assert not any(engine._phases)
    computed = sum(p for p, _, _ in steps)
    if blocks in (None, 400):
        assert computed == sum(prompts)
        assert sum(d for _, d, _ in steps) == sum(outputs) - 60
    else:
        assert computed > sum(prompts), "what was preempted is computed again"
    assert all(p + d <= 300 for p, d, _ in steps)


def test_asynchronous_scheduling_lets_a_sample_in_one_step_later() -> None:
    for asynchronous, expected in ((False, 2), (True, 3)):
        engine = _engine([5, 5], asynchronous=asynchronous)
        _queue(engine, 10)
        engine.begin_step(0.0)
        engine.queue(Sample(1, 1, 1, 10, 0), 0.5)
        begun = [bool((1, 0) in engine.end_step(1.0).first)]
        while not begun[-1]:
            engine.begin_step(0.0)
            begun.append((1, 0) in engine.end_step(0.0).first)
        assert len(begun) == expected


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("blocks", [None, 3000, 150])
def test_steps_taken_at_once_change_nothing(
    asynchronous: bool, blocks: int | None
) -> None:
    """One engine takes quiet steps at once, the other each by itself."""

    class StepByStep(ModelEngine):
        def begin_step(self, now: float, quiet_s: float = 0.0) -> float:
            return super().begin_step(now)

    rng = np.random.default_rng(5)
    outputs = rng.integers(1, 120, 80).tolist()
    prompts = rng.integers(1, 400, 80).tolist()
    arrivals = np.cumsum(rng.exponential(8.0, 80))
    shape = replace(SHAPE, kv_blocks=blocks, asynchronous=asynchronous, max_num_seqs=16)
    results = []
    for kind in (ModelEngine, StepByStep):
        noise = np.random.default_rng(1)
        factors = np.exp(noise.normal(0, 0.1, 100_000)).tolist()
        luck = zip(factors, itertools.repeat(0.0), strict=False)
        engine = kind(shape, model(1.0, 1e-3, 0.01, 0.1, 1e-4), outputs, luck)
        simulation = Simulation(
            [engine], make_balancer(None, True), prompts, outputs, by_demand=False
        )
        results.append(simulation.run(arrivals, np.arange(80)))
        assert engine._free == blocks
        assert engine._cached == 0
    one, other = results
    assert one.first == pytest.approx(other.first)
    assert one.completed == pytest.approx(other.completed)
    assert (one.completed > 0).all()
