"""An engine that schedules as vLLM does and takes as long as a fitted model says.

Rules of vLLM's scheduler (v1, first come first served): each running sequence past its
prompt gets one token; a prompt that was begun goes on; then waiting requests are let in
while tokens of the budget, sequences and KV blocks for the whole prompt are left. Where
blocks run out, the request that came last is preempted: it waits at the front, and
computes its prompt and its answer so far again.
"""

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from forecast.simulation import Produced
from forecast.step_time import StepTime
from sut.coordinator.dispatcher import Sample
from sut.engines.step_model import padded


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineShape:
    """Limits of an engine."""

    max_num_seqs: int
    max_num_batched_tokens: int
    kv_blocks: int | None
    """None: never short."""
    kv_block_size: int
    asynchronous: bool
    """Whether a step is scheduled while the one before runs."""
    streaming: bool
    graph_sizes: tuple[int, ...] = ()
    """Tokens of its CUDA graphs, to which steps are padded, in ascending order."""


@dataclass(slots=True, eq=False)
class _Sequence:
    sample: Sample
    prompt: int
    """Tokens to compute before the next one is sampled."""
    left: int
    """Of the prompt."""
    output: int
    """Tokens that are still to come."""
    made: int = 0
    """Tokens made before it was preempted."""
    length: int = 0
    """Tokens in the KV cache when decoding began, at step `since`."""
    since: int = 0
    ends: int = 0
    """Number of the step that ends it; 0: not known."""
    blocks: int = 0


@dataclass(slots=True)
class StepPlan:
    """What one step does."""

    prefill: int = 0
    decode: int = 0
    begun: int = 0
    """Requests with a part of their prompt in the step."""
    context: int = 0
    """Tokens in the KV cache."""
    firsts: list[_Sequence] = field(default_factory=list)
    ended: list[_Sequence] = field(default_factory=list)


class ModelEngine:
    """Implements `forecast.simulation.TimedEngine`."""

    def __init__(
        self,
        shape: EngineShape,
        model: StepTime,
        outputs: Sequence[int],
        noise: Iterator[tuple[float, float]],
    ) -> None:
        """Start idle.

        Args:
            shape: its limits.
            model: how long steps take.
            outputs: answer tokens by index of the data set.
            noise: factor on the duration of each step, and seconds more.
        """
        self._shape, self._model = shape, model
        self._outputs, self._noise = outputs, noise
        self._waiting: deque[_Sequence] = deque()
        self._decoding: dict[_Sequence, None] = {}
        """Sequences past their prompt, in the order in which they came."""
        self._partial: _Sequence | None = None
        self._holding = 0
        """Sequences that hold a place: also those whose last step still runs."""
        self._ending: dict[int, list[_Sequence]] = {}
        self._phases = [0] * shape.kv_block_size
        """Decoding sequences by the step, modulo the block size, that needs a block."""
        self._ends: list[int] = []
        """Keys of `_ending`, as a heap."""
        self._free = shape.kv_blocks
        self._steps = 0
        self._cached = 0
        """Tokens in the KV cache."""
        self._current = StepPlan()
        self._next: StepPlan | None = None
        self.most = [0.0, 0.0, 0.0]
        """Most prompt tokens, decoding sequences and cached tokens of a step."""

    @property
    def budget(self) -> int:
        """Prompt tokens that one step may take in."""
        return self._shape.max_num_batched_tokens

    @property
    def busy(self) -> bool:
        """Whether there is work for a step."""
        return bool(self._next or self._waiting or self._decoding or self._partial)

    @property
    def waiting(self) -> int:
        """Samples that wait."""
        return len(self._waiting)

    def queue(self, sample: Sample, now: float) -> None:  # noqa: ARG002  (the seam's)
        """Take in a sample."""
        output = self._outputs[sample.qsl_index]
        prompt = sample.prompt_tokens
        self._waiting.append(_Sequence(sample, prompt, prompt, output))

    def begin_step(
        self,
        now: float,  # noqa: ARG002  (the seam's)
        quiet_s: float = 0.0,
    ) -> float:
        """Begin a step; return how long it takes, with those that it stands for."""
        plan = self._next or self._plan()
        self._next = None
        self._current = plan
        if self._shape.asynchronous and (
            self._waiting or self._decoding or self._partial
        ):
            following = self._plan()
            if following.prefill or following.decode:
                self._next = following
        for place, value in enumerate((plan.prefill, plan.decode, plan.context)):
            self.most[place] = max(self.most[place], value)
        factor, extra_s = next(self._noise)
        model = self._model.duration_s
        taken_s = extra_s + factor * model(
            plan.prefill + self._padding(plan.prefill + plan.decode),
            plan.decode,
            plan.begun,
            plan.context,
        )
        if taken_s < quiet_s and not (plan.firsts or plan.ended):
            taken_s += self._decode_on(quiet_s - taken_s)
        return taken_s

    def _decode_on(self, quiet_s: float) -> float:
        """Take the steps that begin in `quiet_s` and only decode; return their time."""
        if self._waiting or self._partial or not self._decoding:
            return 0.0
        following = self._next
        if following is not None and (following.firsts or following.ended):
            return 0.0
        while self._ends and self._ends[0] <= self._steps:
            heapq.heappop(self._ends)
        most = self._ends[0] - 1 - self._steps
        most = min(most, self._steps_with_room(most))
        decode, context = len(self._decoding), self._cached
        if following is not None:
            context -= decode
        padding = self._padding(decode)
        first = self._model.duration_s(padding, decode, 0, context)
        growth = self._model.duration_s(padding, decode, 0, context + decode) - first
        taken_s, count = 0.0, 0
        while count < most and taken_s < quiet_s:
            count += 1
            factor, extra_s = next(self._noise)
            taken_s += extra_s + factor * (first + count * growth)
        if self._free is not None:
            size = self._shape.kv_block_size
            for step in range(self._steps + 1, self._steps + count + 1):
                self._free -= self._phases[step % size]
        self._steps += count
        self._cached += count * decode
        if count:
            if following is not None:
                self._next = StepPlan(decode=decode, context=self._cached)
            self.most[2] = max(self.most[2], float(self._cached))
        return taken_s

    def _padding(self, tokens: int) -> int:
        return padded(tokens, self._shape.graph_sizes) - tokens

    def _steps_with_room(self, most: int) -> int:
        """Return how many of the next steps surely have the blocks that they need."""
        if self._free is None:
            return most
        size = self._shape.kv_block_size
        # Near the end of the cache every step is taken by itself: it may preempt.
        most = min(most, 4 * size)
        if (most // size + 1) * len(self._decoding) > self._free:
            return 0
        return most

    def end_step(self, now: float) -> Produced:  # noqa: ARG002  (the seam's)
        """End it; return what it produced."""
        plan = self._current
        self._current = StepPlan()
        produced = Produced()
        if self._shape.streaming:
            produced.first = [
                (s.sample.seq, s.sample.attempt) for s in plan.firsts if not s.made
            ]
        for sequence in plan.ended:
            self._holding -= 1
            self._release(sequence)
            tokens = self._outputs[sequence.sample.qsl_index]
            produced.done.append((sequence.sample.seq, sequence.sample.attempt, tokens))
        return produced

    def _plan(self) -> StepPlan:
        self._steps += 1
        self._make_room()
        plan = StepPlan(decode=len(self._decoding))
        self._cached += plan.decode
        budget = max(0, self._shape.max_num_batched_tokens - plan.decode)
        for sequence in self._ending.pop(self._steps, []):
            if sequence.ends == self._steps and sequence in self._decoding:
                self._stop_decoding(sequence)
                plan.ended.append(sequence)
        if self._partial is not None and budget:
            budget -= self._take_in(self._partial, budget, plan)
        while budget and self._waiting and self._partial is None and self._admits():
            sequence = self._waiting.popleft()
            self._holding += 1
            if self._free is not None:
                sequence.blocks = self._blocks(sequence.prompt)
                self._free -= sequence.blocks
            budget -= self._take_in(sequence, budget, plan)
        plan.context = self._cached
        return plan

    def _admits(self) -> bool:
        if self._holding >= self._shape.max_num_seqs:
            return False
        needed = self._blocks(self._waiting[0].prompt)
        # One that alone is too large for the cache is let in when all else is gone.
        return self._free is None or needed <= self._free or not self._holding

    def _take_in(self, sequence: _Sequence, budget: int, plan: StepPlan) -> int:
        taken = min(budget, sequence.left)
        sequence.left -= taken
        plan.prefill += taken
        plan.begun += 1
        self._cached += taken
        if sequence.left:
            self._partial = sequence
            return taken
        self._partial = None
        plan.firsts.append(sequence)
        sequence.output -= 1
        sequence.length, sequence.since = sequence.prompt, self._steps
        if not sequence.output:
            plan.ended.append(sequence)
            return taken
        sequence.ends = self._steps + sequence.output
        self._ending.setdefault(sequence.ends, []).append(sequence)
        heapq.heappush(self._ends, sequence.ends)
        self._decoding[sequence] = None
        self._phases[self._phase(sequence)] += 1
        return taken

    def _phase(self, sequence: _Sequence) -> int:
        """Return the step, modulo the block size, at which its cache needs a block."""
        size = self._shape.kv_block_size
        return (sequence.since + 1 - sequence.length) % size

    def _make_room(self) -> None:
        """Give decoding sequences the blocks that they need now; preempt where none."""
        if self._free is None:
            return
        phase = self._steps % self._shape.kv_block_size
        while self._phases[phase] > self._free and len(self._decoding) > 1:
            self._preempt(next(reversed(self._decoding)))
        self._free -= self._phases[phase]

    def _preempt(self, sequence: _Sequence) -> None:
        made = self._steps - 1 - sequence.since
        self._stop_decoding(sequence)
        self._release(sequence, made)
        self._holding -= 1
        output = sequence.output - made
        prompt = sequence.length + 1 + made
        again = _Sequence(sequence.sample, prompt, prompt, output)
        again.made = sequence.made + made + 1
        self._waiting.appendleft(again)

    def _stop_decoding(self, sequence: _Sequence) -> None:
        del self._decoding[sequence]
        self._phases[self._phase(sequence)] -= 1

    def _release(self, sequence: _Sequence, decoded: int | None = None) -> None:
        """Free the cache of a sequence that decoded for so many steps."""
        if decoded is None:
            decoded = max(0, sequence.ends - sequence.since)
        length = sequence.length + decoded
        self._cached -= length
        if self._free is not None:
            self._free += self._blocks(length)

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self._shape.kv_block_size)
