"""Takes in what replicas answer and tells LoadGen and the ledger."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sut.clock import RunClock
from sut.coordinator.dispatcher import Dispatcher, Sample, UnexpectedAnswer
from sut.coordinator.latencies import RecentLatencies
from sut.coordinator.peers import Peer
from sut.coordinator.recorder import Ledger
from sut.wire.messages import Done, Failed, First, Outputs

_WHOLE = ("stop", "length")
"""Reasons for which an answer may end."""

Batch = list[tuple[int, bytes]]
"""LoadGen ids, each with its int32 tokens."""


@dataclass(slots=True, kw_only=True)
class Sinks:
    """Where answers go: LoadGen's side of the run."""

    first_tokens: Callable[[Batch], None]
    complete: Callable[[Batch], None]


class RefusedTooOften(Exception):
    """Engines refused a sample as often as the configuration allows."""


class Answers:
    """Checks answers, and hands on what counts, in the batches that they come in."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        ledger: Ledger,
        clock: RunClock,
        streaming: bool,
        max_attempts: int,
    ) -> None:
        """Take answers to the samples of `dispatcher`; `sinks` must be set first.

        Args:
            dispatcher: knows who holds which sample.
            ledger: records what is final.
            clock: gives the times of first tokens and completions.
            streaming: whether each answer is announced by its first token.
            max_attempts: times that engines may refuse a sample.
        """
        self.sinks: Sinks | None = None
        self.latencies = RecentLatencies()
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._now_ns = clock.now_ns
        self._streaming = streaming
        self._max_attempts = max_attempts

    def take(self, peer: Peer, outputs: Outputs) -> None:
        """Take in what one engine step of `peer` produced.

        Answers that came before a wrong one in the same message count.

        Raises:
            UnexpectedAnswer: the replica answered what it was not asked.
            RefusedTooOften: the run cannot go on.
        """
        self._dispatcher.note_queue(peer.replica, outputs.waiting, outputs.received)
        if outputs.first:
            self._begin(peer, outputs.first)
        if outputs.done:
            self._complete(peer, outputs.done)
        for failed in outputs.failed:
            self._retry(peer, failed)

    def _begin(self, peer: Peer, firsts: Sequence[First]) -> None:
        begin = self._dispatcher.begin
        replica = peer.replica
        batch: Batch = []
        now_ns = self._now_ns()
        try:
            for first in firsts:
                token = first.token
                if len(token) != 4:
                    raise UnexpectedAnswer(f"sample {first.seq}: no int32 first token")
                sample = begin(replica, first.seq, first.attempt)
                if sample.first_token is not None:
                    # An earlier attempt told LoadGen already; twice would be an error.
                    continue
                sample.first_token = token
                sample.first_token_ns = now_ns
                batch.append((sample.query_id, token))
        finally:
            if batch:
                assert self.sinks is not None
                self.sinks.first_tokens(batch)

    def _complete(self, peer: Peer, dones: Sequence[Done]) -> None:
        held, complete = self._dispatcher.held, self._dispatcher.complete
        record, remember = self._ledger.completed, self.latencies.add
        replica = peer.replica
        batch: Batch = []
        now_ns = self._now_ns()
        try:
            for done in dones:
                sample = held(replica, done.seq, done.attempt)
                if done.finish_reason not in _WHOLE:
                    cause = f"the engine ended its answer: {done.finish_reason}"
                    self._retry(peer, Failed(done.seq, done.attempt, cause))
                    continue
                tokens = done.tokens
                count, rest = divmod(len(tokens), 4)
                if rest or not count:
                    raise UnexpectedAnswer(f"sample {done.seq}: no int32 tokens")
                if self._streaming and sample.first_token != tokens[:4]:
                    self._doubt(sample, peer)
                batch.append((sample.query_id, tokens))
                record(sample, peer, done, now_ns)
                remember((sample, now_ns, count))
                complete(sample, count, now_ns)
        finally:
            if batch:
                assert self.sinks is not None
                self.sinks.complete(batch)

    def _doubt(self, sample: Sample, peer: Peer) -> None:
        if sample.first_token is None:
            raise UnexpectedAnswer(f"sample {sample.seq} ended before it began")
        cause = "the recomputed answer begins with another token"
        self._ledger.event("protocol", cause, peer, sample.seq)

    def _retry(self, peer: Peer, failed: Failed) -> None:
        sample = self._dispatcher.held(peer.replica, failed.seq, failed.attempt)
        self._dispatcher.requeue(sample)
        self._ledger.event("retry", failed.cause, peer, sample.seq)
        sample.refusals += 1
        if sample.refusals >= self._max_attempts:
            raise RefusedTooOften(
                f"sample {sample.seq} (index {sample.qsl_index}) failed"
                f" {sample.refusals} times, last: {failed.cause}"
            )
