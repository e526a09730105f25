"""Chooses how many prompt tokens a step takes, so that answers hold their TPOT.

LoadGen judges the mean time between the tokens of an answer, so a long step may be made
up for by shorter ones. A request that decodes, has R seconds left until its last token
is due, and m tokens to come, has a surplus of R - m x pace: what is left if each of its
steps takes `pace`, a little below the limit. The next step may take

    pace + (least surplus of all requests) / horizon

What decoding does not need of that goes to prompts, by a model of the step's time. So
prompts get all the time that TPOT leaves; where queues are short, they do not use it.

A step of x seconds lowers every surplus by x - pace alike. So which request has the
least is settled by a number that does not change, and a step costs no loop over
requests. Only requests that have arrived are known here.

With CUDA graphs a step takes as long as the next larger graph, to which it is padded.
So a budget is rounded down to a graph's size; the time saved is surplus of later steps.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sut.engines.step_model import padded
from sut.wire.messages import StepModel

_MARGIN = 0.98
"""Of the limit: what is aimed at. Answers end a little late, by the model's error."""
_PACE = 0.9
"""Of that: what the steps after the next ones are expected to take."""
_HORIZON = 16
"""Steps in which a surplus is used, or a deficit made up for."""
_LEAST = 0.1
"""Of the limit: prefill time that a step has in any case, so that prompts go on."""


@dataclass(slots=True)
class _Cohort:
    """Requests whose first tokens came from the same step."""

    key: float
    """Time of their first token, less `pace` for each step until then, in s."""
    last_step: int
    """The step that makes their last token, if no answer stops before."""
    decoding: int
    """Requests without their last token."""


@dataclass(slots=True)
class _Scheduled:
    """A step without a result yet."""

    number: int
    predicted_s: float
    first_tokens: list[str] = field(default_factory=list)
    """Requests whose prompt it ends."""


class PrefillBudget:
    """One engine's budget; times are in s, of one monotonic clock."""

    def __init__(
        self,
        model: StepModel,
        tpot_s: float,
        answer_tokens: int,
        most: int,
        graph_sizes: Sequence[int] = (),
    ) -> None:
        """Start with an idle engine.

        Args:
            model: how long steps take.
            tpot_s: limit of TPOT.
            answer_tokens: most tokens of an answer.
            most: tokens that a step may take at most.
            graph_sizes: tokens of the engine's CUDA graphs, in ascending order.
        """
        self._model = model
        self._graph_sizes = graph_sizes
        self._most = most
        self._aim_s = aim_s = _MARGIN * tpot_s
        self._intervals = answer_tokens - 1
        self._pace_s = _PACE * aim_s
        self._fresh_s = self._intervals * (aim_s - self._pace_s)
        """Surplus of a request that just got its first token."""
        self._least_s = _LEAST * aim_s
        self._steps = 0
        self._free_at = 0.0
        """When the scheduled steps will have ended."""
        self._running: deque[_Scheduled] = deque()
        self._tightest: deque[_Cohort] = deque()
        """Cohorts that have, or will have, the least surplus; the least first."""
        self._cohorts: dict[str, _Cohort] = {}
        """By request."""

    def tokens(self, now: float, decoding: int, cached: int) -> int:
        """Return how many tokens the next step may have, those of decoding included.

        Args:
            now: the time.
            decoding: requests past their prompt.
            cached: tokens in the KV cache.
        """
        model = self._model
        if model.prefill_s <= 0 or model.step_s >= self._aim_s:
            # No budget can meet the limit, so TTFT has it all.
            return self._most
        surplus_s = self._surplus_s(now)
        if surplus_s is None:
            return self._most
        decode_s = model.step_s + model.decode_s * decoding + model.cached_s * cached
        prefill_s = self._pace_s + surplus_s / _HORIZON - decode_s
        per_token_s = model.prefill_s + model.cached_s
        prompt_tokens = int(max(prefill_s, self._least_s) / per_token_s)
        total = max(1, min(self._most, decoding + prompt_tokens))
        if padded(total, self._graph_sizes) == total:
            return total
        below = bisect_left(self._graph_sizes, total) - 1
        if below < 0 or self._graph_sizes[below] <= decoding:
            return total
        return self._graph_sizes[below]

    def _surplus_s(self, now: float) -> float | None:
        """Return the least surplus when all scheduled steps have ended; None: none."""
        tightest = self._tightest
        while tightest and not (
            tightest[0].decoding and tightest[0].last_step > self._steps
        ):
            tightest.popleft()
        least = None
        if tightest:
            end = max(now, self._free_at)
            passed_s = end - self._pace_s * self._steps
            least = self._fresh_s + tightest[0].key - passed_s
        for step in self._running:
            if step.first_tokens:
                return self._fresh_s if least is None else min(least, self._fresh_s)
        return least

    def scheduled(
        self,
        now: float,
        prefill: int,
        decoding: int,
        cached: int,
        first_tokens: Sequence[str],
    ) -> None:
        """Take note of a step.

        Args:
            now: when it was scheduled.
            prefill: prompt tokens in it.
            decoding: requests past their prompt in it.
            cached: tokens in the KV cache.
            first_tokens: requests whose prompt it ends.
        """
        model = self._model
        computed = padded(prefill + decoding, self._graph_sizes) - decoding
        predicted_s = (
            model.step_s
            + model.prefill_s * computed
            + model.decode_s * decoding
            + model.cached_s * cached
        )
        self._steps += 1
        self._running.append(_Scheduled(self._steps, predicted_s, list(first_tokens)))
        self._free_at = max(now, self._free_at) + predicted_s

    def ended(self, now: float) -> None:
        """Take note that the oldest scheduled step has ended."""
        step = self._running.popleft()
        self._free_at = now + sum(other.predicted_s for other in self._running)
        if not step.first_tokens:
            return
        cohort = _Cohort(
            now - self._pace_s * step.number,
            step.number + self._intervals,
            len(step.first_tokens),
        )
        for name in step.first_tokens:
            self._cohorts[name] = cohort
        while self._tightest and self._tightest[-1].key >= cohort.key:
            self._tightest.pop()
        self._tightest.append(cohort)

    def finished(self, names: Iterable[str]) -> None:
        """Take note of requests that decode no longer."""
        for name in names:
            cohort = self._cohorts.pop(name, None)
            if cohort is not None:
                cohort.decoding -= 1
