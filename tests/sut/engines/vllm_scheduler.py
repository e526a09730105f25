"""vLLM's own schedulers over a model that answers at once."""

import time
from collections import deque
from pathlib import Path
from typing import Any

from tests.tiny_llama import write_tiny_llama

BLOCK, BUDGET, TOKENS = 16, 100, 20
STEP_S = 0.002


def make_config(folder: Path) -> Any:
    """Return vLLM's configuration for a tiny model, which is written to `folder`."""
    from vllm.engine.arg_utils import EngineArgs

    path = write_tiny_llama(folder)
    return EngineArgs(
        model=str(path),
        skip_tokenizer_init=True,
        max_num_seqs=8,
        max_num_batched_tokens=BUDGET,
        max_model_len=400,
        block_size=BLOCK,
        enable_prefix_caching=False,
    ).create_engine_config()


def make_scheduler(
    config: Any, blocks: int, asynchronous: bool, forms: dict[Any, Any]
) -> Any:
    """Return a scheduler over a cache of so many blocks.

    Args:
        config: vLLM's.
        blocks: of the KV cache.
        asynchronous: whether steps are scheduled ahead.
        forms: the class under test, by the one of vLLM that it extends.
    """
    import torch
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.kv_cache_interface import (
        FullAttentionSpec,
        KVCacheConfig,
        KVCacheGroupSpec,
    )
    from vllm.v1.structured_output import StructuredOutputManager

    config.cache_config.num_gpu_blocks = blocks
    layers = FullAttentionSpec(
        block_size=BLOCK, num_kv_heads=2, head_size=64, dtype=torch.float32
    )
    kind = forms[AsyncScheduler if asynchronous else Scheduler]
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


def answer(scheduler: Any, output: Any) -> None:
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


def serve(scheduler: Any, lengths: list[int], ahead: int) -> tuple[int, int]:
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
            answer(scheduler, queue.popleft())
    return steps, preempted
