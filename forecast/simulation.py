"""Runs the dispatcher and its policies over engines in simulated time.

Dispatcher and balancers are the product's own; what is simulated is the clock, the
engines and the network between them.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sut.balancers import Balancer
from sut.coordinator.dispatcher import Dispatcher, Sample, queue_target
from sut.engines.synthetic import SyntheticEngine
from sut.wire.messages import EngineSpec, Request

Times = NDArray[np.float64]
_NETWORK_S = 0.0002


@dataclass(slots=True)
class Produced:
    """What a step produced."""

    first: list[tuple[int, int]] = field(default_factory=list)
    """Sample and attempt of each answer that began."""
    done: list[tuple[int, int, int]] = field(default_factory=list)
    """Sample, attempt and answer tokens of each answer that ended."""


class TimedEngine(Protocol):
    """An engine whose steps take as long as it says; times are in s."""

    @property
    def budget(self) -> int:
        """Prompt tokens that one step may take in."""

    @property
    def busy(self) -> bool:
        """Whether there is work for a step."""

    @property
    def waiting(self) -> int:
        """Samples that wait."""

    def queue(self, sample: Sample, now: float) -> None:
        """Take in a sample."""

    def begin_step(self, now: float, quiet_s: float = 0.0) -> float:
        """Begin a step; return how long it takes.

        Args:
            now: the time.
            quiet_s: no sample comes for so long. Steps in which no answer begins or
                ends may be taken as one while they begin in this time.
        """

    def end_step(self, now: float) -> Produced:
        """End it; return what it produced."""


class TimedSynthetic:
    """The synthetic engine, in simulated time."""

    def __init__(
        self, spec: EngineSpec, slowdown: float, prompts: Sequence[bytes]
    ) -> None:
        """Build it; `prompts` are int32 token ids by index of the data set."""
        self._engine = SyntheticEngine(spec, slowdown)
        self._prompts = prompts

    @property
    def budget(self) -> int:
        """Prompt tokens that one step may take in."""
        return self._engine.info.max_num_batched_tokens

    @property
    def busy(self) -> bool:
        """Whether there is work for a step."""
        return self._engine.busy

    @property
    def waiting(self) -> int:
        """Samples that wait."""
        return self._engine.stats().waiting

    def queue(self, sample: Sample, now: float) -> None:
        """Take in a sample."""
        prompt = self._prompts[sample.qsl_index]
        self._engine.queue(Request(sample.seq, sample.attempt, prompt), now)

    def begin_step(
        self,
        now: float,
        quiet_s: float = 0.0,  # noqa: ARG002  (it takes every step by itself)
    ) -> float:
        """Begin a step; return how long it takes."""
        return self._engine.begin_step(now)

    def end_step(self, now: float) -> Produced:
        """End it; return what it produced."""
        first, done = self._engine.end_step(now)
        return Produced(
            [(one.seq, one.attempt) for one in first],
            [(one.seq, one.attempt, len(one.tokens) // 4) for one in done],
        )


@dataclass(slots=True, kw_only=True)
class Result:
    """What came of a run; arrays by order of issue, in s."""

    issued: Times
    first: Times
    """0 where answers are not streamed."""
    completed: Times
    tokens: NDArray[np.int64]
    """Answer tokens."""
    finished: dict[int, float]
    """When each replica finished its last sample."""

    @property
    def makespan_s(self) -> float:
        """Time from the first issue to the last completion."""
        return float(self.completed.max() - self.issued.min())

    def ttft_s(self, percentile: float) -> float:
        """Return this percentile (0 to 100) of TTFT."""
        return float(np.percentile(self.first - self.issued, percentile))

    def tpot_s(self, percentile: float, tokens: int) -> float:
        """Return this percentile (0 to 100) of TPOT for answers of `tokens`."""
        spans = (self.completed - self.first) / (tokens - 1)
        return float(np.percentile(spans, percentile))


@dataclass(slots=True, kw_only=True)
class _Replica:
    engine: TimedEngine
    inbox: list[Sample] = field(default_factory=list)
    received: int = 0
    coming: int = 0
    """Samples on their way to it."""
    stepping: bool = False
    to: list[float] = field(default_factory=lambda: [0.0])
    """When the last message to it arrives."""
    back: list[float] = field(default_factory=lambda: [0.0])
    """When its last message arrives."""


class Simulation:
    """One run."""

    def __init__(
        self,
        engines: Sequence[TimedEngine],
        balancer: Balancer,
        lengths: Sequence[int],
        answers: Sequence[int],
        *,
        by_demand: bool,
        network_s: Iterator[float] | None = None,
        issue_s: float = 0.0,
    ) -> None:
        """Prepare idle replicas.

        Args:
            engines: one for each replica.
            balancer: chooses among them.
            lengths: prompt tokens by index of the data set.
            answers: answer tokens at their limit by index of the data set, which the
                balancer counts.
            by_demand: whether samples are handed out as queues have room (Offline), or
                all at once.
            network_s: time that each message takes; None: 0.2 ms.
            issue_s: time from the issue until a sample is handed out.
        """
        self._dispatcher = Dispatcher(balancer, lengths, answers)
        self._lengths = lengths
        self._replicas = [_Replica(engine=engine) for engine in engines]
        self._network_s = network_s or itertools.repeat(_NETWORK_S)
        self._issue_s = issue_s
        self._by_demand = by_demand
        self._issues: list[float] = []
        """Times at which samples are handed to the dispatcher, descending."""
        typical = int(np.median(lengths))
        for number, engine in enumerate(engines):
            target = queue_target(engine.budget, typical) if by_demand else None
            self._dispatcher.add_replica(number, "n", target)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._now = 0.0
        self._first = self._completed = np.zeros(0)
        self._tokens = np.zeros(0, np.int64)
        self._finished: dict[int, float] = {}

    def run(self, arrivals: Times, indices: NDArray[np.int64]) -> Result:
        """Issue a sample of each index at its time in s; return when all are done.

        Args:
            arrivals: times of issue in s, ascending, shape (samples,).
            indices: rows of the data set, shape (samples,).
        """
        self._first = np.zeros(len(arrivals))
        self._completed = np.zeros(len(arrivals))
        self._tokens = np.zeros(len(arrivals), np.int64)
        if len(self._replicas) == 1 and not self._by_demand:
            self._run_alone(arrivals, indices)
            return self._result(arrivals)
        self._issues = sorted(
            {float(t) + self._issue_s for t in arrivals}, reverse=True
        )
        begins = np.flatnonzero(np.diff(arrivals, prepend=-1.0))
        for begin, end in zip(begins, [*begins[1:], len(arrivals)], strict=True):
            numbers, rows = list(range(begin, end)), indices[begin:end].tolist()
            moment = float(arrivals[begin]) + self._issue_s
            self._at(moment, self._issue(numbers, rows))
        while self._events:
            self._now, _, happen = heapq.heappop(self._events)
            happen()
        assert self._dispatcher.completed == len(arrivals)
        return self._result(arrivals)

    def _result(self, arrivals: Times) -> Result:
        return Result(
            issued=arrivals,
            first=self._first,
            completed=self._completed,
            tokens=self._tokens,
            finished=self._finished,
        )

    def _run_alone(self, arrivals: Times, indices: NDArray[np.int64]) -> None:
        """Run one replica that gets each sample at once: there is nothing to choose."""
        engine, network = self._replicas[0].engine, self._network_s
        rows, lengths = indices.tolist(), self._lengths
        delays = np.fromiter(itertools.islice(network, len(rows)), float, len(rows))
        # No message overtakes another.
        comes = np.maximum.accumulate(arrivals + self._issue_s + delays).tolist()
        comes.append(math.inf)
        now, back, place = comes[0], 0.0, 0
        while place < len(rows) or engine.busy:
            if not engine.busy:
                now = max(now, comes[place])
            while comes[place] <= now:
                row = rows[place]
                sample = Sample(place, place, row, lengths[row], 0, attempt=1)
                engine.queue(sample, now)
                place += 1
            now += engine.begin_step(now, comes[place] - now)
            produced = engine.end_step(now)
            if produced.first or produced.done:
                back = max(back, now + next(network))
            for seq, _ in produced.first:
                self._first[seq] = back
            for seq, _, tokens in produced.done:
                self._completed[seq], self._tokens[seq] = back, tokens
        self._finished[0] = back

    def _at(self, moment: float, happen: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (moment, self._count, happen))

    def _send(self, way: list[float], happen: Callable[[], None]) -> None:
        """Have something happen when a message is there; none overtakes another."""
        way[0] = max(way[0], self._now + next(self._network_s))
        self._at(way[0], happen)

    def _issue(self, ids: list[int], indices: list[int]) -> Callable[[], None]:
        def happen() -> None:
            self._issues.pop()
            self._dispatcher.issue([(self._ns, ids, indices)])
            self._assign()

        return happen

    @property
    def _ns(self) -> int:
        return round(self._now * 1e9)

    def _assign(self) -> None:
        for number, samples in self._dispatcher.assign(self._ns).items():
            self._replicas[number].coming += len(samples)
            self._send(self._replicas[number].to, self._arrive(number, samples))

    def _arrive(self, number: int, samples: list[Sample]) -> Callable[[], None]:
        def happen() -> None:
            replica = self._replicas[number]
            replica.coming -= len(samples)
            replica.inbox += samples
            if not replica.stepping:
                self._begin_step(number)

        return happen

    def _begin_step(self, number: int) -> None:
        replica = self._replicas[number]
        for sample in replica.inbox:
            replica.engine.queue(sample, self._now)
        replica.received += len(replica.inbox)
        replica.inbox.clear()
        replica.stepping = replica.engine.busy
        if replica.stepping:
            duration = replica.engine.begin_step(self._now, self._quiet_s(replica))
            self._at(self._now + duration, lambda: self._end_step(number))

    def _quiet_s(self, replica: _Replica) -> float:
        """Return for how long no sample can reach the replica."""
        if self._by_demand or replica.coming:
            return 0.0
        return self._issues[-1] - self._now if self._issues else math.inf

    def _end_step(self, number: int) -> None:
        replica = self._replicas[number]
        produced = replica.engine.end_step(self._now)
        waiting, received = replica.engine.waiting, replica.received

        def arrive() -> None:
            self._dispatcher.note_queue(number, waiting, received)
            self._answer(number, produced)
            self._assign()

        self._send(replica.back, arrive)
        self._begin_step(number)

    def _answer(self, number: int, produced: Produced) -> None:
        dispatcher = self._dispatcher
        for seq, attempt in produced.first:
            dispatcher.begin(number, seq, attempt)
            self._first[seq] = self._now
        for seq, attempt, tokens in produced.done:
            dispatcher.complete(dispatcher.held(number, seq, attempt), tokens, self._ns)
            self._completed[seq] = self._now
            self._tokens[seq] = tokens
            self._finished[number] = self._now
