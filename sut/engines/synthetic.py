"""An engine of arithmetic: known answers, known service times.

It schedules like vLLM (continuous batching, prompts taken in under a token budget)
and takes as long as its model of a step says, so that the harness around it can be
tested and measured without a device.
"""

import hashlib
import struct
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sut.engines.base import EngineInfo, EngineStats, RequestError, duration_ns
from sut.engines.steps import StepRing
from sut.wire.messages import Completion, EngineSpec, FirstToken, Request

_VOCABULARY = 32_000
_FIRST_ID = 3
_TABLE: bytes = (
    np.random.default_rng(0)
    .integers(_FIRST_ID, _VOCABULARY, 1 << 16, dtype=np.int32)
    .tobytes()
)


def synthetic_answer(prompt: bytes, count: int) -> bytes:
    """Return the answer to `prompt`: `count` int32 ids that no other prompt shares.

    The first two ids spell a hash of the prompt, the others are a stretch of a random
    table that begins at another part of it. It takes microseconds, so that a harness
    can be measured with it, and is the same in every process, so that a test can work
    out every sample's own answer.
    """
    digest = hashlib.blake2b(prompt, digest_size=8).digest()
    first, second, place = struct.unpack("<HHI", digest)
    span = _VOCABULARY - _FIRST_ID
    head = struct.pack("<ii", _FIRST_ID + first % span, _FIRST_ID + second % span)
    begin = 4 * (place % (len(_TABLE) // 4 - count))
    return (head + _TABLE[begin : begin + 4 * count])[: 4 * count]


@dataclass(slots=True)
class _Sequence:
    request: Request
    prompt_left: int
    queued: float
    answer: bytes
    tokens: int
    """Of the answer."""
    started: float = 0.0
    first: float = 0.0


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
        self._running = 0
        self._steps = 0
        self._begun: list[_Sequence] = []
        """Sequences whose prompt ends in the present step."""
        self._ending: dict[int, list[_Sequence]] = {}
        """Running sequences by the number of the step that ends them."""
        self._taken = 0
        """Prompt tokens in the present step."""
        self._ring = StepRing() if spec.steps else None

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
        self.queue(request, time.perf_counter())

    def step(self) -> tuple[Sequence[FirstToken], Sequence[Completion]]:
        """Take in prompts up to the budget, then give each running sequence a token."""
        begin = time.perf_counter()
        self._sleep_until(begin + self.begin_step(begin))
        end = time.perf_counter()
        if self._ring is not None:
            self._record(self._ring, begin, end)
        return self.end_step(end)

    def queue(self, request: Request, now: float) -> None:
        """Queue a request at the time `now` in s, of whatever clock.

        Raises:
            RequestError: as of `add`.
        """
        length, rest = divmod(len(request.prompt), 4)
        if rest or not length:
            raise RequestError("the prompt is not a list of int32 token ids")
        tokens = request.output_tokens or self._tokens
        if length + tokens > self._max_model_len:
            raise RequestError(
                f"{length} prompt tokens and the answer exceed the model's length"
                f" of {self._max_model_len}"
            )
        answer = synthetic_answer(request.prompt, tokens)
        self._waiting.append(_Sequence(request, length, now, answer, tokens))

    def begin_step(self, now: float) -> float:
        """Take in prompts; return how many seconds the step takes."""
        # Each running sequence takes one token of the budget, as in vLLM.
        budget, taken = max(1, self._budget - self._running), 0
        while budget and self._waiting and self._running < self._max_seqs:
            sequence = self._waiting[0]
            sequence.started = sequence.started or now
            chunk = min(budget, sequence.prompt_left)
            sequence.prompt_left -= chunk
            budget -= chunk
            taken += chunk
            if sequence.prompt_left:
                break
            self._begun.append(self._waiting.popleft())
            self._running += 1
        self._steps += 1
        self._taken = taken
        for sequence in self._begun:
            last = self._steps + sequence.tokens - 1
            self._ending.setdefault(last, []).append(sequence)
        return self._step_s + self._prefill_s * taken + self._decode_s * self._running

    def end_step(self, now: float) -> tuple[Sequence[FirstToken], Sequence[Completion]]:
        """Return what the step produced that ended at the time `now` in s."""
        for sequence in self._begun:
            sequence.first = now
        begun = self._begun if self._streaming else []
        firsts = [
            FirstToken(s.request.seq, s.request.attempt, s.answer[:4]) for s in begun
        ]
        self._begun.clear()
        ended = self._ending.pop(self._steps, [])
        self._running -= len(ended)
        return firsts, [self._done(sequence, now) for sequence in ended]

    def stats(self) -> EngineStats:
        """Return the current state."""
        return EngineStats(
            running=self._running, waiting=len(self._waiting), kv_used=None
        )

    def steps(self) -> tuple[bytes, int]:
        """Return records of the steps since the last call, and how many are missing."""
        return (b"", 0) if self._ring is None else self._ring.drain()

    def _record(self, ring: StepRing, begin: float, end: float) -> None:
        """Record the present step; perf_counter is CLOCK_MONOTONIC on Linux."""
        begin_ns = round(begin * 1e9)
        # As vLLM counts: a request whose prompt has begun to be taken in is running.
        partial = bool(self._waiting and self._waiting[0].started)
        ring.append(
            begin_ns,
            max(0, round(end * 1e9) - begin_ns),
            self._taken,
            self._running - len(self._begun),
            self._running + partial,
            len(self._waiting) - partial,
            -1,
            0,
        )

    def lost_process(self) -> str | None:
        """Return None: it needs no other process."""
        return None

    def close(self) -> None:
        """Hold nothing."""

    def _done(self, sequence: _Sequence, now: float) -> Completion:
        request = sequence.request
        return Completion(
            request.seq,
            request.attempt,
            sequence.answer,
            "length",
            0,
            duration_ns(sequence.started - sequence.queued),
            duration_ns(sequence.first - sequence.started),
            duration_ns(now - sequence.first),
        )

    @staticmethod
    def _sleep_until(deadline: float) -> None:
        left = deadline - time.perf_counter()
        if left > 0:
            time.sleep(left)
