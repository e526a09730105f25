"""Adaptive batching in vLLM's own schedulers, over a model that answers at once."""

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from record.steps import STEP, Steps
from sut.engines.step_model import ADAPTIVE_VARIABLE, ModelSlot
from sut.engines.steps import PATH_VARIABLE, StepRing
from sut.wire.messages import StepModel
from tests.sut.engines.vllm_scheduler import (
    BUDGET,
    STEP_S,
    TOKENS,
    make_config,
    make_scheduler,
    serve,
)

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]
LENGTHS = [30, 250, 64, 90, 101, 33, 17, 128, 90, 40, 77, 90]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_config(tmp_path_factory.mktemp("model"))


@pytest.fixture
def make(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes a scheduler, its ring and its slot."""
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler
    from vllm.v1.core.sched.scheduler import Scheduler

    from sut.engines.adaptive_scheduler import BY_RECORDED, AdaptiveSettings
    from sut.engines.step_scheduler import BY_BASE

    forms = {base: BY_RECORDED[BY_BASE[base]] for base in (Scheduler, AsyncScheduler)}

    def made(asynchronous: bool, blocks: int, tpot_s: float) -> Any:
        ring, slot = StepRing(tmp_path / "ring"), ModelSlot(tmp_path / "slot")
        settings = AdaptiveSettings(str(tmp_path / "slot"), tpot_s, TOKENS, [])
        monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "ring"))
        monkeypatch.setenv(ADAPTIVE_VARIABLE, msgspec.json.encode(settings).decode())
        scheduler = make_scheduler(config, blocks, asynchronous, forms)
        assert isinstance(scheduler, AsyncScheduler) == asynchronous
        return scheduler, ring, slot

    return made


@pytest.mark.parametrize(("asynchronous", "ahead"), [(False, 1), (True, 2)])
@pytest.mark.parametrize("blocks", [400, 40])
def test_all_answers_come_whole_under_any_limit(
    make: Any, asynchronous: bool, ahead: int, blocks: int
) -> None:
    for tpot_s in (1e-6, 0.55 * STEP_S, STEP_S, 10.0):
        scheduler, ring, slot = make(asynchronous, blocks, tpot_s)
        slot.put(StepModel(STEP_S / 2, 1e-5, 1e-5, 0.0))
        ring.drain()
        serve(scheduler, LENGTHS, ahead)
        steps: Steps = np.frombuffer(ring.drain()[0], STEP)
        tokens = steps["prefill_tokens"] + steps["decode_sequences"]
        assert tokens.max() <= BUDGET
        if blocks == 400:
            assert steps["prefill_tokens"].sum() == sum(LENGTHS)
            assert steps["decode_sequences"].sum() == len(LENGTHS) * (TOKENS - 1)
        busy = steps[steps["decode_sequences"] > 0]
        if tpot_s in (1e-6, 10.0):
            assert tokens.max() == BUDGET
        if tpot_s == 0.55 * STEP_S:
            assert busy["prefill_tokens"].max() <= 11
        assert not scheduler._budget._running
        assert not scheduler._budget._cohorts


@pytest.mark.parametrize("asynchronous", [False, True])
def test_without_a_model_steps_differ_in_what_they_take_in(
    make: Any, asynchronous: bool
) -> None:
    scheduler, ring, slot = make(asynchronous, 400, 0.01)
    serve(scheduler, LENGTHS * 3, 1 + asynchronous)
    steps: Steps = np.frombuffer(ring.drain()[0], STEP)
    waited = steps[steps["waiting"] > 0]
    assert len(set(waited["prefill_tokens"].tolist())) > 4
    assert (waited["prefill_tokens"] == 0).any()
    slot.put(StepModel(STEP_S, 1e-5, 1e-5, 0.0))
    assert scheduler._budget is None
    serve(scheduler, LENGTHS[:2], 1 + asynchronous)
    assert scheduler._budget is not None


def test_a_step_costs_the_host_next_to_nothing(make: Any) -> None:
    scheduler, _, slot = make(True, 400, STEP_S)
    slot.put(StepModel(STEP_S / 2, 1e-5, 1e-5, 0.0))
    scheduler._make_budget()
    budget = scheduler._budget
    count = 20_000
    begin = time.thread_time()
    for number in range(count):
        budget.tokens(number * 1e-3, 500, 50_000)
        budget.scheduled(number * 1e-3, 800, 500, 50_000, [str(number)])
        budget.ended(number * 1e-3 + 1e-3)
        budget.finished([str(number - TOKENS)])
    assert (time.thread_time() - begin) / count < 100e-6
