"""An engine of arithmetic: known answers, known service times.

It schedules like vLLM (continuous batching, prompts taken in under a token budget)
and takes as long as its model of a step says, so that the harness around it can be
tested and measured without a device.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sut.engines.base import EngineInfo, EngineStats, RequestError
from sut.messages import Done, EngineSpec, First, Request

_MULTIPLIER = np.uint64(6_364_136_223_846_793_005)
_VOCABULARY = 32_000


def synthetic_answer(prompt: bytes, count: int) -> bytes:
    """Return the answer to `prompt`: `count` int32 ids that no other prompt shares.

    A linear congruential generator seeded with a hash of the prompt, so that a test
    can work out every sample's own answer.
    """
    seed = np.uint64(hash_prompt(prompt))
    steps = np.arange(1, count + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        mixed = (seed + steps) * _MULTIPLIER
    ids: NDArray[np.uint64] = (mixed >> np.uint64(33)) % np.uint64(_VOCABULARY - 3)
    return (ids.astype("<i4") + np.int32(3)).tobytes()


def hash_prompt(prompt: bytes) -> int:
    """Return a 64-bit hash of the prompt that is the same in every process."""
    ids = np.frombuffer(prompt, "<i4").astype(np.uint64)
    places = np.arange(1, len(ids) + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        return int(((ids + np.uint64(1)) * places * _MULTIPLIER).sum())


@dataclass(slots=True)
class _Sequence:
    request: Request
    prompt_left: int
    queued: float
    started: float = 0.0
    first: float = 0.0
    made: int = 0


class SyntheticEngine:
    """Implements `sut.engines.base.Engine`."""

    def __init__(self, spec: EngineSpec, slowdown: float = 1.0) -> None:
        """Build it from the parameters in `spec.options`."""
        options = spec.options
        self._step_s = float(options["step_s"]) * slowdown
        self._prefill_s = float(options["prefill_s_per_token"]) * slowdown
        self._decode_s = float(options["decode_s_per_sequence"]) * slowdown
        self._max_seqs = int(options["max_num_seqs"])
        self._budget = int(options["max_num_batched_tokens"])
        self._tokens = int(options["output_tokens"])
        self._max_model_len = spec.max_model_len
        self._streaming = spec.streaming
        self._waiting: deque[_Sequence] = deque()
        self._running: dict[int, _Sequence] = {}
        self._ids = 0

    @property
    def info(self) -> EngineInfo:
        """What was built."""
        return EngineInfo(
            versions={"numpy": np.__version__},
            model={"vocab_size": _VOCABULARY},
            settings={
                "max_num_seqs": self._max_seqs,
                "max_num_batched_tokens": self._budget,
            },
            max_num_batched_tokens=self._budget,
            compile_s=None,
        )

    @property
    def busy(self) -> bool:
        """Whether `step` has work to do."""
        return bool(self._waiting or self._running)

    def add(self, request: Request) -> None:
        """Queue a request.

        Raises:
            RequestError: the prompt leaves no room for the answer, or is no int32 list.
        """
        length, rest = divmod(len(request.prompt), 4)
        if rest or not length:
            raise RequestError("the prompt is not a list of int32 token ids")
        if length + self._tokens > self._max_model_len:
            raise RequestError(
                f"{length} prompt tokens and the answer exceed the model's length"
                f" of {self._max_model_len}"
            )
        self._waiting.append(_Sequence(request, length, time.perf_counter()))

    def step(self) -> tuple[Sequence[First], Sequence[Done]]:
        """Take in prompts up to the budget, then give each running sequence a token."""
        begin = time.perf_counter()
        budget, taken = self._budget, 0
        while budget and self._waiting and len(self._running) < self._max_seqs:
            sequence = self._waiting[0]
            sequence.started = sequence.started or begin
            chunk = min(budget, sequence.prompt_left)
            sequence.prompt_left -= chunk
            budget -= chunk
            taken += chunk
            if sequence.prompt_left:
                break
            self._waiting.popleft()
            self._ids += 1
            self._running[self._ids] = sequence
        duration = (
            self._step_s + self._prefill_s * taken + self._decode_s * len(self._running)
        )
        self._sleep_until(begin + duration)
        return self._advance(time.perf_counter())

    def stats(self) -> EngineStats:
        """Return the current state."""
        return EngineStats(
            running=len(self._running), waiting=len(self._waiting), kv_used=None
        )

    def close(self) -> None:
        """Hold nothing."""

    def _advance(self, now: float) -> tuple[list[First], list[Done]]:
        first, done = [], []
        for key, sequence in list(self._running.items()):
            sequence.made += 1
            request = sequence.request
            if sequence.made == 1:
                sequence.first = now
                if self._streaming:
                    answer = synthetic_answer(request.prompt, 1)
                    first.append(First(request.seq, request.attempt, answer))
            if sequence.made == self._tokens:
                del self._running[key]
                done.append(self._done(sequence, now))
        return first, done

    def _done(self, sequence: _Sequence, now: float) -> Done:
        request = sequence.request
        return Done(
            request.seq,
            request.attempt,
            synthetic_answer(request.prompt, self._tokens),
            "length",
            0,
            _ns(sequence.started - sequence.queued),
            _ns(sequence.first - sequence.started),
            _ns(now - sequence.first),
        )

    @staticmethod
    def _sleep_until(deadline: float) -> None:
        left = deadline - time.perf_counter()
        if left > 0:
            time.sleep(left)


def _ns(seconds: float) -> int:
    return max(0, round(seconds * 1e9))
