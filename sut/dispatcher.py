"""Which sample is where: the state of a run, without I/O or threads.

Every sample that LoadGen issued is in exactly one place: waiting, in the hands of one
replica, or final. An answer counts only if it comes from the replica and for the
attempt that the sample is at; whatever else arrives is refused.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sut.balancers import Balancer

_ANSWER_TOKENS = 128


@dataclass(slots=True)
class Sample:
    """One sample on its way."""

    seq: int
    query_id: int
    qsl_index: int
    prompt_tokens: int
    issued_ns: int
    attempt: int = 0
    replica: int | None = None
    dispatched_ns: int | None = None
    first_token: bytes | None = None
    first_token_ns: int | None = None


@dataclass(slots=True)
class ReplicaLoad:
    """What a replica has in hand and has done; satisfies `balancers.Load`."""

    replica: int
    node: str
    max_in_flight: int | None
    """Samples that it may hold at once; None: any number."""
    outstanding: dict[int, Sample] = field(default_factory=dict)
    outstanding_tokens: int = 0
    sent: int = 0
    finished: int = 0
    output_tokens: int = 0

    @property
    def outstanding_samples(self) -> int:
        """Samples handed to it and not finished."""
        return len(self.outstanding)

    @property
    def has_room(self) -> bool:
        """Whether it may be handed one more sample."""
        return self.max_in_flight is None or len(self.outstanding) < self.max_in_flight


class UnexpectedAnswer(Exception):
    """A replica answered a sample that it does not hold."""


class Dispatcher:
    """Hands samples to replicas and takes back answers."""

    def __init__(self, balancer: Balancer, prompt_tokens: Callable[[int], int]) -> None:
        """Start without replicas.

        Args:
            balancer: policy that chooses among the replicas with room.
            prompt_tokens: prompt length by index of the data set.
        """
        self.replicas: dict[int, ReplicaLoad] = {}
        self.issued = 0
        self.completed = 0
        self._waiting: deque[Sample] = deque()
        self._balancer = balancer
        self._prompt_tokens = prompt_tokens

    @property
    def open_samples(self) -> int:
        """Samples that are issued and not completed."""
        return self.issued - self.completed

    def add_replica(self, replica: int, node: str, max_in_flight: int | None) -> None:
        """Let `replica` take part."""
        self.replicas[replica] = ReplicaLoad(replica, node, max_in_flight)

    def issue(self, queries: Iterable[tuple[int, int]], now_ns: int) -> None:
        """Take in (LoadGen id, index) pairs in the order that LoadGen issued them."""
        for query_id, index in queries:
            tokens = self._prompt_tokens(index)
            sample = Sample(self.issued, query_id, index, tokens, now_ns)
            self.issued += 1
            self._waiting.append(sample)

    def assign(self, now_ns: int) -> dict[int, list[Sample]]:
        """Hand out as many waiting samples as there is room for, oldest first."""
        batches: dict[int, list[Sample]] = {}
        while self._waiting:
            candidates = [load for load in self.replicas.values() if load.has_room]
            if not candidates:
                break
            replica = self._balancer.choose(candidates).replica
            sample = self._waiting.popleft()
            load = self.replicas[replica]
            sample.attempt += 1
            sample.replica = replica
            sample.dispatched_ns = now_ns
            load.outstanding[sample.seq] = sample
            load.outstanding_tokens += sample.prompt_tokens + _ANSWER_TOKENS
            load.sent += 1
            batches.setdefault(replica, []).append(sample)
        return batches

    def held(self, replica: int, seq: int, attempt: int) -> Sample:
        """Return the sample that `replica` speaks of.

        Raises:
            UnexpectedAnswer: it does not hold that sample, or at another attempt.
        """
        load = self.replicas.get(replica)
        sample = load.outstanding.get(seq) if load else None
        if sample is None or sample.attempt != attempt:
            raise UnexpectedAnswer(
                f"sample {seq} attempt {attempt} is not in its hands"
            )
        return sample

    def complete(self, sample: Sample, output_tokens: int) -> None:
        """Take `sample` out of its replica's hands for good."""
        load = self._release(sample)
        load.finished += 1
        load.output_tokens += output_tokens
        self.completed += 1

    def requeue(self, sample: Sample) -> None:
        """Take `sample` out of its replica's hands and let it wait, at the front."""
        self._release(sample)
        sample.replica = None
        self._waiting.appendleft(sample)

    def remove_replica(self, replica: int) -> list[Sample]:
        """Take `replica` out; return the samples it held, which wait again."""
        held = list(self.replicas[replica].outstanding.values())
        for sample in reversed(held):
            self.requeue(sample)
        del self.replicas[replica]
        return held

    def unfinished(self) -> Sequence[Sample]:
        """Return every sample that is issued and not completed."""
        held = [s for r in self.replicas.values() for s in r.outstanding.values()]
        return sorted([*held, *self._waiting], key=lambda sample: sample.seq)

    def _release(self, sample: Sample) -> ReplicaLoad:
        assert sample.replica is not None
        load = self.replicas[sample.replica]
        del load.outstanding[sample.seq]
        load.outstanding_tokens -= sample.prompt_tokens + _ANSWER_TOKENS
        return load
