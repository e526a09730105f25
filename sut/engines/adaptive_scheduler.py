"""vLLM's schedulers with a prompt budget of their own for each step.

vLLM limits the tokens of a step by `max_num_scheduled_tokens`, which it reads again in
each step: here it is set before. All else is vLLM's, asynchronous scheduling too.
Only attributes that vLLM has had from 0.26 to 0.32 are used.
"""

import itertools
import os
import time
from pathlib import Path
from typing import Any

import msgspec

from sut.engines.prefill_budget import PrefillBudget
from sut.engines.step_model import ADAPTIVE_VARIABLE, STRETCH, ModelSlot
from sut.engines.step_scheduler import AsyncStepScheduler, StepScheduler

_PROBES = (1.0, 0.0, 0.5, 0.125, 0.25, 0.0, 0.0625, 0.375)
"""Shares of the largest budget that steps get in turn, `STRETCH` steps each, while the
model is unknown, so that it can be fitted from them."""


class AdaptiveSettings(msgspec.Struct):
    """What a scheduler needs to know; travels in an environment variable."""

    slot: str
    """Path of the model's slot."""
    tpot_s: float
    answer_tokens: int
    graph_sizes: list[int]
    """Tokens of the engine's CUDA graphs, in ascending order."""


class _Adaptive:
    """Mixed into a recorded scheduler."""

    max_num_scheduled_tokens: int
    """vLLM's: tokens that the next step may have."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._settings = msgspec.json.decode(
            os.environ[ADAPTIVE_VARIABLE], type=AdaptiveSettings
        )
        self._slot = ModelSlot(Path(self._settings.slot))
        self._most = self.max_num_scheduled_tokens
        self._probes = itertools.cycle(
            share for share in _PROBES for _ in range(STRETCH)
        )
        self._budget: PrefillBudget | None = None
        self._known: set[int] = set()
        """Scheduled steps that the budget knows, by the identity of their output."""

    def schedule(self, *arguments: Any, **named: Any) -> Any:
        budget = self._budget or self._make_budget()
        decoding = len(self.running) - len(self._in_prompt)  # type: ignore[attr-defined]
        pool = self.kv_cache_manager.block_pool  # type: ignore[attr-defined]
        used = pool.num_gpu_blocks - pool.get_num_free_blocks()
        cached = used * self.block_size  # type: ignore[attr-defined]
        now = time.monotonic()
        if budget is None:
            share = int(next(self._probes) * self._most)
            # Without decoding a step has to have prompt tokens.
            tokens = decoding + share if decoding else self._most
            self.max_num_scheduled_tokens = max(1, min(self._most, tokens))
            return super().schedule(*arguments, **named)  # type: ignore[misc]
        self.max_num_scheduled_tokens = budget.tokens(now, decoding, cached)
        output = super().schedule(*arguments, **named)  # type: ignore[misc]
        budget.finished(output.finished_req_ids)
        if output.total_num_scheduled_tokens:
            prefill, decoding = self._last_counts  # type: ignore[attr-defined]
            cached += prefill
            budget.scheduled(now, prefill, decoding, cached, self._first_tokens)  # type: ignore[attr-defined]
            self._known.add(id(output))
        return output

    def update_from_output(
        self, scheduler_output: Any, *rest: Any, **named: Any
    ) -> Any:
        if id(scheduler_output) in self._known:
            self._known.discard(id(scheduler_output))
            assert self._budget is not None
            self._budget.ended(time.monotonic())
        return super().update_from_output(scheduler_output, *rest, **named)  # type: ignore[misc]

    def _make_budget(self) -> PrefillBudget | None:
        """Return the budget once its model is there."""
        model = self._slot.get()
        if model is not None:
            self._budget = PrefillBudget(
                model,
                self._settings.tpot_s,
                self._settings.answer_tokens,
                self._most,
                self._settings.graph_sizes,
            )
        return self._budget


class AdaptiveStepScheduler(_Adaptive, StepScheduler):
    """vLLM's scheduler, recorded, with a budget of its own for each step."""


class AdaptiveAsyncStepScheduler(_Adaptive, AsyncStepScheduler):
    """vLLM's asynchronous scheduler, likewise."""


BY_RECORDED = {
    StepScheduler: AdaptiveStepScheduler,
    AsyncStepScheduler: AdaptiveAsyncStepScheduler,
}
"""The adaptive form of each recorded scheduler."""
