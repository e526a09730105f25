"""vLLM's own schedulers over a model that answers at once: what they record."""

import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from record.steps import STEP, Steps
from sut.engines.steps import PATH_VARIABLE, StepRing
from tests.tiny_llama import write_tiny_llama

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]
BLOCK, BUDGET, TOKENS = 16, 100, 20
STEP_S = 0.002


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from vllm.engine.arg_utils import EngineArgs

    path = write_tiny_llama(tmp_path_factory.mktemp("model"))
    return EngineArgs(
        model=str(path),
        skip_tokenizer_init=True,
        max_num_seqs=8,
        max_num_batched_tokens=BUDGET,
        max_model_len=400,
        block_size=BLOCK,
        enable_prefix_caching=False,
    ).create_engine_config()


def _scheduler(config: Any, blocks: int, asynchronous: bool) -> Any:
    import torch
    from vllm.v1.kv_cache_interface import (
        FullAttentionSpec,
        KVCacheConfig,
        KVCacheGroupSpec,
    )
    from vllm.v1.structured_output import StructuredOutputManager

    from sut.engines.step_scheduler import AsyncStepScheduler, StepScheduler

    config.cache_config.num_gpu_blocks = blocks
    layers = FullAttentionSpec(
        block_size=BLOCK, num_kv_heads=2, head_size=64, dtype=torch.float32
    )
    kind = AsyncStepScheduler if asynchronous else StepScheduler
    config.scheduler_config.async_scheduling = asynchronous
    return kind(
        vllm_config=config,
        kv_cache_config=KVCacheConfig(
            num_blocks=blocks,
            kv_cache_tensors=[],
            kv_cache_groups=[KVCacheGroupSpec(["layer"], layers)],
        ),
        structured_output_manager=StructuredOutputManager(config),
        block_size=BLOCK,
        hash_block_size=BLOCK,
        log_stats=True,
    )


def _answer(scheduler: Any, output: Any) -> None:
    """Give each request that is through with its prompt a token."""
    from vllm.v1.outputs import ModelRunnerOutput

    names = list(output.num_scheduled_tokens)
    sampled = [[] if name in output.inside else [7] for name in names]
    result = ModelRunnerOutput(
        req_ids=names,
        req_id_to_index={name: index for index, name in enumerate(names)},
        sampled_token_ids=sampled,
    )
    scheduler.update_from_output(output, result)


def _served(scheduler: Any, lengths: list[int], ahead: int) -> tuple[int, int]:
    """Serve prompts of these lengths; return steps, and requests that lost their cache.

    Args:
        scheduler: under test.
        lengths: of the prompts.
        ahead: steps that are scheduled before the first one's result is there.
    """
    from vllm.sampling_params import SamplingParams
    from vllm.v1.request import Request

    params = SamplingParams(temperature=0.0, max_tokens=TOKENS, ignore_eos=True)
    for number, length in enumerate(lengths):
        scheduler.add_request(
            Request(
                request_id=str(number),
                prompt_token_ids=[5] * length,
                sampling_params=params,
                pooling_params=None,
            )
        )
    queue: deque[Any] = deque()
    steps = preempted = 0
    while scheduler.has_requests() or queue:
        while len(queue) < ahead and scheduler.has_requests():
            output = scheduler.schedule()
            if not output.total_num_scheduled_tokens:
                scheduler_idle = not queue
                assert not scheduler_idle or not scheduler.has_unfinished_requests()
                if scheduler_idle:
                    return steps, preempted
                break
            output.inside = {
                name
                for name in output.num_scheduled_tokens
                if scheduler.requests[name].is_prefill_chunk
            }
            steps += 1
            preempted += len(output.preempted_req_ids or ())
            queue.append(output)
        time.sleep(STEP_S)
        if queue:
            _answer(scheduler, queue.popleft())
    return steps, preempted


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
    path = tmp_path / "ring"
    ring = StepRing(path)
    monkeypatch.setenv(PATH_VARIABLE, str(path))
    scheduler = _scheduler(config, blocks, asynchronous)
    lengths = [30, 250, 64, 90, 101, 33, 17, 128, 90, 40, 77, 90]
    begin_ns = time.monotonic_ns()
    count, preempted = _served(scheduler, lengths, ahead)
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
