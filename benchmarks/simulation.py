"""Runs the dispatcher and its policies over synthetic engines in simulated time.

Dispatcher, balancers and engine are the product's own; what is simulated is the clock
and the network between them. So policies can be compared for any number of replicas
without noise, in seconds.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sut.balancers import Balancer
from sut.coordinator.dispatcher import Dispatcher, queue_target
from sut.engines.synthetic import SyntheticEngine
from sut.wire.messages import Completion, EngineSpec, FirstToken, Request


@dataclass(slots=True, kw_only=True)
class Setting:
    """What is simulated."""

    spec: EngineSpec
    slowdown: list[float]
    """Factor on every duration, for each replica."""
    prompts: list[bytes]
    """int32 token ids by index of the data set."""
    network_s: float = 0.0002
    """Time that a message takes."""
    by_demand: bool = True
    """Whether Offline hands out by demand, as the product does, or all at once."""


@dataclass(slots=True, kw_only=True)
class Result:
    """What came of it; arrays by order of issue, in s."""

    issued: NDArray[np.float64]
    first: NDArray[np.float64]
    completed: NDArray[np.float64]
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
    engine: SyntheticEngine
    inbox: list[Request] = field(default_factory=list)
    received: int = 0
    stepping: bool = False


class Simulation:
    """One run."""

    def __init__(self, setting: Setting, balancer: Balancer) -> None:
        """Prepare idle replicas."""
        self._setting = setting
        lengths = [len(prompt) // 4 for prompt in setting.prompts]
        self._dispatcher = Dispatcher(balancer, lengths)
        self._replicas = [
            _Replica(engine=SyntheticEngine(setting.spec, factor))
            for factor in setting.slowdown
        ]
        by_demand = setting.by_demand and not setting.spec.streaming
        typical = int(np.median(lengths))
        for number, replica in enumerate(self._replicas):
            budget = replica.engine.info.max_num_batched_tokens
            target = queue_target(budget, typical) if by_demand else None
            self._dispatcher.add_replica(number, "n", target)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._now = 0.0
        self._first = self._completed = np.zeros(0)
        self._finished: dict[int, float] = {}

    def run(self, arrivals: NDArray[np.float64], indices: NDArray[np.int64]) -> Result:
        """Issue a sample of each index at its time in s; return when all are done.

        Args:
            arrivals: times of issue in s, ascending, shape (samples,).
            indices: rows of the data set, shape (samples,).
        """
        self._first = np.zeros(len(arrivals))
        self._completed = np.zeros(len(arrivals))
        begins = np.flatnonzero(np.diff(arrivals, prepend=-1.0))
        for begin, end in zip(begins, [*begins[1:], len(arrivals)], strict=True):
            numbers, rows = list(range(begin, end)), indices[begin:end].tolist()
            self._at(float(arrivals[begin]), self._issue(numbers, rows))
        while self._events:
            self._now, _, happen = heapq.heappop(self._events)
            happen()
        assert self._dispatcher.completed == len(arrivals)
        return Result(
            issued=arrivals,
            first=self._first,
            completed=self._completed,
            finished=self._finished,
        )

    def _at(self, moment: float, happen: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (moment, self._count, happen))

    def _issue(self, ids: list[int], indices: list[int]) -> Callable[[], None]:
        def happen() -> None:
            self._dispatcher.issue([(self._ns, ids, indices)])
            self._assign()

        return happen

    @property
    def _ns(self) -> int:
        return round(self._now * 1e9)

    def _assign(self) -> None:
        prompts = self._setting.prompts
        for number, samples in self._dispatcher.assign(self._ns).items():
            requests = [
                Request(s.seq, s.attempt, prompts[s.qsl_index]) for s in samples
            ]
            self._at(
                self._now + self._setting.network_s, self._arrive(number, requests)
            )

    def _arrive(self, number: int, requests: list[Request]) -> Callable[[], None]:
        def happen() -> None:
            replica = self._replicas[number]
            replica.inbox += requests
            if not replica.stepping:
                self._begin_step(number)

        return happen

    def _begin_step(self, number: int) -> None:
        replica = self._replicas[number]
        for request in replica.inbox:
            replica.engine.queue(request, self._now)
        replica.received += len(replica.inbox)
        replica.inbox.clear()
        replica.stepping = replica.engine.busy
        if replica.stepping:
            duration = replica.engine.begin_step(self._now)
            self._at(self._now + duration, lambda: self._end_step(number))

    def _end_step(self, number: int) -> None:
        replica = self._replicas[number]
        first, done = replica.engine.end_step(self._now)
        waiting, received = replica.engine.stats().waiting, replica.received

        def arrive() -> None:
            self._dispatcher.note_queue(number, waiting, received)
            self._answer(number, first, done)
            self._assign()

        self._at(self._now + self._setting.network_s, arrive)
        self._begin_step(number)

    def _answer(
        self, number: int, first: Sequence[FirstToken], done: Sequence[Completion]
    ) -> None:
        dispatcher = self._dispatcher
        for begun in first:
            dispatcher.begin(number, begun.seq, begun.attempt)
            self._first[begun.seq] = self._now
        for ended in done:
            sample = dispatcher.held(number, ended.seq, ended.attempt)
            dispatcher.complete(sample, len(ended.tokens) // 4, self._ns)
            self._completed[ended.seq] = self._now
            self._finished[number] = self._now
