"""vLLM's schedulers, with a record of each step that they schedule.

vLLM makes its scheduler in the process of its engine core, by the name of the class.
Only attributes that vLLM has had from 0.26 to 0.32 are used.
"""

import os
import time
from pathlib import Path
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler

from sut.engines.steps import PATH_VARIABLE, StepRing


class _Recorder:
    """Mixed into a scheduler of vLLM: times each step and counts its tokens.

    A step's end is when its tokens reach the scheduler. Its start is when it was
    scheduled, or the end of the step before if that is later: an asynchronous scheduler
    plans a step while the one before still runs.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._ring = StepRing(Path(os.environ[PATH_VARIABLE]))
        self._scheduled: dict[int, tuple[int, ...]] = {}
        """Steps without a result, by the identity of their output."""
        self._in_prompt: set[str] = set()
        """Requests of which a part of the prompt was scheduled, and not all."""
        self._first_tokens: list[str] = []
        """Requests whose prompt the step that was scheduled last ends."""
        self._last_counts = 0, 0
        """Its prompt tokens, and its requests past their prompt."""
        self._last_end_ns = 0

    def schedule(self, *arguments: Any, **named: Any) -> Any:
        begin_ns = time.monotonic_ns()
        output = super().schedule(*arguments, **named)  # type: ignore[misc]
        if output.total_num_scheduled_tokens:
            self._scheduled[id(output)] = (begin_ns, *self._counted(output))
        return output

    def update_from_output(
        self, scheduler_output: Any, *rest: Any, **named: Any
    ) -> Any:
        end_ns = time.monotonic_ns()
        step = self._scheduled.pop(id(scheduler_output), None)
        if step is not None:
            start_ns = max(step[0], self._last_end_ns)
            self._ring.append(start_ns, end_ns - start_ns, *step[1:])
            self._last_end_ns = end_ns
        return super().update_from_output(scheduler_output, *rest, **named)  # type: ignore[misc]

    def _counted(self, output: Any) -> tuple[int, ...]:
        """Return prefill tokens and what follows them in `StepRing.append`.

        Only requests in their prompt are looked at one by one. Those past it are many,
        and each has one token (more where tokens are speculated).
        """
        counts, cached = output.num_scheduled_tokens, output.scheduled_cached_reqs
        in_prompt = self._in_prompt
        in_prompt.update(new.req_id for new in output.scheduled_new_reqs)
        in_prompt.update(cached.resumed_req_ids)
        in_prompt.difference_update(output.finished_req_ids)
        prefill_tokens = prefill_sequences = 0
        self._first_tokens = first_tokens = []
        for name in list(in_prompt):
            tokens = counts.get(name, 0)
            if not tokens:
                continue
            prefill_tokens += tokens
            prefill_sequences += 1
            if not self.requests[name].is_prefill_chunk:  # type: ignore[attr-defined]
                in_prompt.discard(name)
                first_tokens.append(name)
        decode_sequences = len(counts) - prefill_sequences
        self._last_counts = prefill_tokens, decode_sequences
        running, waiting = self.get_request_counts()  # type: ignore[attr-defined]
        pool = self.kv_cache_manager.block_pool  # type: ignore[attr-defined]
        return (
            prefill_tokens,
            decode_sequences,
            running,
            waiting,
            pool.get_num_free_blocks(),
            len(output.preempted_req_ids or ()),
        )


class StepScheduler(_Recorder, Scheduler):  # type: ignore[misc]
    """vLLM's scheduler, recorded."""


class AsyncStepScheduler(_Recorder, AsyncScheduler):  # type: ignore[misc]
    """vLLM's asynchronous scheduler, recorded."""


BY_BASE = {Scheduler: StepScheduler, AsyncScheduler: AsyncStepScheduler}
"""The recorded form of each of vLLM's own schedulers."""
