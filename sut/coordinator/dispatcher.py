"""The state of every sample of a run, without I/O or threads.

Every sample that LoadGen issued is in exactly one state: waiting, with one replica, or
final. An answer counts only if it comes from the sample's current replica and
attempt; any other answer is refused.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from sut.balancers import Balancer, ScoringBalancer

_QUEUED_STEPS = 4
"""Engine steps of prompts that a replica keeps waiting, so that it always has work."""
_FEWEST_QUEUED = 8
_MANY = 16
"""Replicas from which a heap is quicker than a look at each for every sample."""
_FEWEST_FINISHED = 32
"""Fewest finished samples from which a speed is computed: the first sample ends long
after its start, at any speed."""

Query = tuple[int, Sequence[int], Sequence[int]]
"""Time of issue in ns, LoadGen's ids, and as many indices of the data set."""


class Sample(Struct, gc=False):
    """One sample; a run makes hundreds of thousands, so it must be cheap."""

    seq: int
    query_id: int
    qsl_index: int
    prompt_tokens: int
    issued_ns: int
    work_tokens: int = 0
    """Prompt tokens, and answer tokens at their limit; policies balance them."""
    attempt: int = 0
    replica: int | None = None
    dispatched_ns: int | None = None
    begun: bool = False
    """Whether the current attempt has its first token."""
    refusals: int = 0
    """Attempts that ended because an engine refused this sample."""
    first_token: bytes | None = None
    first_token_ns: int | None = None


@dataclass(slots=True)
class ReplicaLoad:
    """The open and finished work of a replica; satisfies `balancers.Load`."""

    replica: int
    node: str
    queue_target: int | None
    """Samples that its engine should have waiting; None: send all at once."""
    outstanding: dict[int, Sample] = field(default_factory=dict)
    outstanding_samples: int = 0
    """Number of outstanding samples; kept, since policies read it for every sample."""
    outstanding_tokens: int = 0
    outstanding_prefills: int = 0
    sent: int = 0
    finished: int = 0
    output_tokens: int = 0
    waiting: int = 0
    """Samples waiting in its engine, by its last message."""
    received: int = 0
    """Samples that it had received by then."""
    finished_tokens: int = 0
    busy_ns: int = 0
    """Time with open work, without the period that began at `busy_from_ns`."""
    busy_from_ns: int = 0
    finished_ns: int = 0
    """When it last finished a sample."""

    def hand(self, sample: Sample, now_ns: int) -> None:
        """Add `sample`, for its next attempt."""
        sample.attempt += 1
        sample.replica = self.replica
        sample.dispatched_ns = now_ns
        if not self.outstanding_samples:
            self.busy_from_ns = now_ns
        self.outstanding[sample.seq] = sample
        self.outstanding_samples += 1
        self.outstanding_tokens += sample.work_tokens
        self.outstanding_prefills += 1
        self.sent += 1

    @property
    def has_room(self) -> bool:
        """Whether it may receive one more sample."""
        if self.queue_target is None:
            return True
        return self.waiting + self.sent - self.received < self.queue_target

    @property
    def tokens_per_s(self) -> float | None:
        """Its capacity; None until it has finished enough samples."""
        if self.finished < _FEWEST_FINISHED:
            return None
        return self.capacity_tokens_per_s

    @property
    def capacity_tokens_per_s(self) -> float | None:
        """Prompt and answer tokens finished per second while it had work."""
        if not self.finished:
            return None
        busy_ns = self.busy_ns
        if self.outstanding:
            busy_ns += max(0, self.finished_ns - self.busy_from_ns)
        return self.finished_tokens / max(busy_ns / 1e9, 1e-9)


def queue_target(step_tokens: int, typical_tokens: int) -> int:
    """Return how many samples an engine should have waiting.

    Args:
        step_tokens: most prompt tokens in one engine step.
        typical_tokens: length of a typical prompt.
    """
    return max(_FEWEST_QUEUED, math.ceil(_QUEUED_STEPS * step_tokens / typical_tokens))


class UnexpectedAnswer(Exception):
    """A replica answered a sample that it does not have."""


class Dispatcher:
    """Assigns samples to replicas and accounts for their answers."""

    def __init__(
        self,
        balancer: Balancer,
        prompt_tokens: Sequence[int],
        answer_tokens: Sequence[int],
        block: int | None = None,
    ) -> None:
        """Start without replicas.

        Args:
            balancer: policy that chooses among the replicas with room.
            prompt_tokens: prompt length by index of the data set.
            answer_tokens: length that the data set prescribes for each answer, by
                index; where it prescribes none, the limit of the run.
            block: size of the data set where the longest prompts may go first: MLPerf
                lets Offline sort inside one pass over the data set. None: in order.
        """
        self._block = block
        self.replicas: dict[int, ReplicaLoad] = {}
        self.issued = 0
        self.completed = 0
        self._waiting: deque[Sample] = deque()
        self._balancer = balancer
        self._prompt_tokens = prompt_tokens
        self._work_tokens = [
            prompt + answer
            for prompt, answer in zip(prompt_tokens, answer_tokens, strict=True)
        ]
        count = max(1, len(prompt_tokens))
        self.mean_prompt_tokens = sum(prompt_tokens) / count
        """Of the data set."""
        self.mean_answer_tokens = sum(answer_tokens) / count
        """Of the data set, at their limit."""

    @property
    def open_samples(self) -> int:
        """Samples that are issued and not completed."""
        return self.issued - self.completed

    def add_replica(self, replica: int, node: str, queue_target: int | None) -> None:
        """Let `replica` take part."""
        self.replicas[replica] = ReplicaLoad(replica, node, queue_target)

    def note_queue(self, replica: int, waiting: int, received: int) -> None:
        """Note the queue that a replica reports: `waiting` of `received` samples."""
        load = self.replicas[replica]
        load.waiting, load.received = waiting, received

    def issue(self, queries: Iterable[Query]) -> None:
        """Take in samples in the order in which LoadGen issued them."""
        lengths, work, seq = self._prompt_tokens, self._work_tokens, self.issued
        samples: list[Sample] = []
        add = samples.append
        for issued_ns, ids, indices in queries:
            # Not zip(strict=True), which takes longer than all else here where queries
            # hold one sample each.
            for position, query_id in enumerate(ids):
                index = indices[position]
                length, tokens = lengths[index], work[index]
                add(Sample(seq, query_id, index, length, issued_ns, tokens))
                seq += 1
        self.issued = seq
        if (block := self._block) is not None:
            samples.sort(key=lambda s: (s.seq // block, -s.prompt_tokens))
        self._waiting.extend(samples)

    def assign(self, now_ns: int) -> dict[int, list[Sample]]:
        """Hand out as many waiting samples as there is room for, oldest first."""
        batches: dict[int, list[Sample]] = {}
        waiting, replicas = self._waiting, self.replicas
        if not waiting:
            return batches
        candidates = [load for load in replicas.values() if load.has_room]
        balancer = self._balancer
        if (
            len(candidates) >= _MANY
            and len(waiting) > 1
            and isinstance(balancer, ScoringBalancer)
        ):
            return self._assign_by_score(balancer, candidates, now_ns)
        choose = balancer.choose
        while waiting and candidates:
            replica = choose(candidates).replica
            sample = waiting.popleft()
            load = replicas[replica]
            load.hand(sample, now_ns)
            if load.queue_target is not None and not load.has_room:
                candidates.remove(load)
            if replica in batches:
                batches[replica].append(sample)
            else:
                batches[replica] = [sample]
        return batches

    def _assign_by_score(
        self, balancer: ScoringBalancer, candidates: list[ReplicaLoad], now_ns: int
    ) -> dict[int, list[Sample]]:
        """Do as `assign` does, with a heap: a choice costs the logarithm of replicas.

        Nothing ends while samples are handed out, so only the score of the replica
        that was chosen changes.
        """
        batches: dict[int, list[Sample]] = {}
        waiting, score = self._waiting, balancer.score
        balancer.refresh(candidates, len(waiting))
        heap = [(score(load), load) for load in candidates]
        heapq.heapify(heap)
        while waiting and heap:
            load = heap[0][1]
            sample = waiting.popleft()
            load.hand(sample, now_ns)
            if load.queue_target is None or load.has_room:
                heapq.heapreplace(heap, (score(load), load))
            else:
                heapq.heappop(heap)
            if load.replica in batches:
                batches[load.replica].append(sample)
            else:
                batches[load.replica] = [sample]
        return batches

    def held(self, replica: int, seq: int, attempt: int) -> Sample:
        """Return the sample that `replica` answers.

        Raises:
            UnexpectedAnswer: it does not hold that sample, or at another attempt.
        """
        load = self.replicas.get(replica)
        sample = None if load is None else load.outstanding.get(seq)
        if sample is None or sample.attempt != attempt:
            raise UnexpectedAnswer(
                f"sample {seq} attempt {attempt} is not with this replica"
            )
        return sample

    def begin(self, replica: int, seq: int, attempt: int) -> Sample:
        """Note that the answer to a sample of `replica` has begun; return the sample.

        Raises:
            UnexpectedAnswer: as of `held`, or it had begun before.
        """
        sample = self.held(replica, seq, attempt)
        if sample.begun:
            raise UnexpectedAnswer(f"sample {seq} began twice")
        sample.begun = True
        self.replicas[replica].outstanding_prefills -= 1
        return sample

    def complete(self, sample: Sample, output_tokens: int, now_ns: int) -> None:
        """Take `sample`, which is answered, from its replica.

        Raises:
            UnexpectedAnswer: no replica has it.
        """
        if sample.replica is None:
            raise UnexpectedAnswer(f"sample {sample.seq} is with no replica")
        load = self.replicas[sample.replica]
        load.finished += 1
        load.finished_ns = now_ns
        load.output_tokens += output_tokens
        load.finished_tokens += sample.prompt_tokens + output_tokens
        self._release(sample, load)
        self.completed += 1

    def requeue(self, sample: Sample) -> None:
        """Take `sample` from its replica and let it wait, first in line.

        Raises:
            UnexpectedAnswer: no replica has it.
        """
        if sample.replica is None:
            raise UnexpectedAnswer(f"sample {sample.seq} is with no replica")
        self._release(sample, self.replicas[sample.replica])
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

    @staticmethod
    def _release(sample: Sample, load: ReplicaLoad) -> None:
        del load.outstanding[sample.seq]
        load.outstanding_samples -= 1
        load.outstanding_tokens -= sample.work_tokens
        if not sample.begun:
            load.outstanding_prefills -= 1
        sample.begun = False
        if not load.outstanding_samples:
            load.busy_ns += max(0, load.finished_ns - load.busy_from_ns)
