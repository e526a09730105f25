"""vLLM's own schedulers over a model that answers at once: what they record."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from record.steps import STEP, Steps
from sut.engines.steps import PATH_VARIABLE, StepRing
from tests.sut.engines.vllm_scheduler import (
    BUDGET,
    TOKENS,
    make_config,
    make_scheduler,
    serve,
)

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_config(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(("asynchronous", "ahead"), [(False, 1), (True, 2)])
@pytest.mark.parametrize("blocks", [400, 40])
def test_tokens_times_and_blocks(
    config: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asynchronous: bool,
    ahead: int,
    blocks: int,
) -> None:
    from sut.engines.step_scheduler import BY_BASE

    path = tmp_path / "ring"
    ring = StepRing(path)
    monkeypatch.setenv(PATH_VARIABLE, str(path))
    scheduler = make_scheduler(config, blocks, asynchronous, BY_BASE)
    lengths = [30, 250, 64, 90, 101, 33, 17, 128, 90, 40, 77, 90]
    begin_ns = time.monotonic_ns()
    count, preempted = serve(scheduler, lengths, ahead)
    end_ns = time.monotonic_ns()
    data, missing = ring.drain()
    steps: Steps = np.frombuffer(data, STEP)
    assert missing == 0
    assert len(steps) == count
    assert steps["preempted"].sum() == preempted
    assert (preempted > 0) == (blocks == 40)
    prefill, decode = steps["prefill_tokens"], steps["decode_sequences"]
    assert (prefill + decode <= BUDGET).all()
    if preempted:
        # What is computed again counts again, and tokens known before are a prompt.
        assert prefill.sum() > sum(lengths)
    else:
        assert prefill.sum() == sum(lengths)
        assert decode.sum() == len(lengths) * (TOKENS - 1)
    assert steps["kv_blocks_free"].min() >= 0
    assert steps["kv_blocks_free"].max() < blocks
    assert (steps["running"] <= 8).all()
    assert (steps["running"] + steps["waiting"] <= len(lengths)).all()
    ends = steps["start_ns"] + steps["duration_ns"]
    assert begin_ns <= steps["start_ns"][0] <= ends[-1] <= end_ns
    assert (steps["start_ns"][1:] >= ends[:-1]).all(), "steps do not overlap"
    busy = steps["duration_ns"].sum() / (ends[-1] - steps["start_ns"][0])
    if asynchronous:
        assert busy > 0.999, "one step begins where the one before ends"


def test_a_schedulers_recorded_form_is_found_by_its_kind(config: Any) -> None:
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler
    from vllm.v1.core.sched.scheduler import Scheduler

    from sut.engines.step_scheduler import BY_BASE

    for asynchronous, base in ((False, Scheduler), (True, AsyncScheduler)):
        config.scheduler_config.async_scheduling = asynchronous
        assert config.scheduler_config.get_scheduler_cls() is base
        assert issubclass(BY_BASE[base], base)
