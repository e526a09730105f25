"""An engine in simulated time whose batching is adaptive."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from forecast.engine import EngineShape, ModelEngine, StepPlan
from forecast.simulation import Produced
from forecast.step_time import StepTime
from sut.engines.prefill_budget import PrefillBudget
from sut.wire.messages import StepModel


class AdaptiveModelEngine(ModelEngine):
    """A `ModelEngine` whose steps have the tokens that a `PrefillBudget` allows."""

    def __init__(
        self,
        shape: EngineShape,
        model: StepTime,
        outputs: Sequence[int],
        noise: Iterator[tuple[float, float]],
        budget: PrefillBudget,
    ) -> None:
        """Start idle.

        Args:
            shape: its limits; a step never has more tokens than these allow.
            model: how long steps take.
            outputs: answer tokens by index of the data set.
            noise: factor on the duration of each step, and seconds more.
            budget: the product's own, with a model of its own.
        """
        super().__init__(shape, model, outputs, noise)
        self._budget, self._whole = budget, shape
        self._now = 0.0

    def begin_step(
        self,
        now: float,
        quiet_s: float = 0.0,  # noqa: ARG002  (each step needs a budget)
    ) -> float:
        """Begin a step; return how long it takes."""
        self._now = now
        return super().begin_step(now)

    def end_step(self, now: float) -> Produced:
        """End it; return what it produced."""
        plan = self._current
        if plan.prefill or plan.decode:
            self._budget.ended(now)
        self._budget.finished([str(s.sample.seq) for s in plan.ended])
        return super().end_step(now)

    def _plan(self) -> StepPlan:
        decoding = len(self._decoding)
        tokens = self._budget.tokens(self._now, decoding, self._cached + decoding)
        most = min(tokens, self._whole.max_num_batched_tokens)
        self._shape = replace(self._whole, max_num_batched_tokens=most)
        plan = super()._plan()
        if plan.prefill or plan.decode:
            first_tokens = [str(s.sample.seq) for s in plan.firsts]
            self._budget.scheduled(
                self._now, plan.prefill, plan.decode, plan.context, first_tokens
            )
        return plan


def as_step_model(model: StepTime, prompt_tokens: float) -> StepModel:
    """Return a fitted model in the form that adaptive batching uses.

    Args:
        model: fitted from records.
        prompt_tokens: mean length of a prompt, by which its cost per prompt is spread.
    """
    one, prefill, decode, prompt, cached = model.coefficients.tolist()
    return StepModel(
        one + model.overhead_s, prefill + prompt / prompt_tokens, decode, cached
    )
