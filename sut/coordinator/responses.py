"""Takes the answers of replicas and passes them to LoadGen and the recorder."""

from collections.abc import Sequence
from typing import Protocol

from sut.clock import RunClock
from sut.coordinator.dispatcher import Dispatcher, Sample, UnexpectedAnswer
from sut.coordinator.latencies import RecentLatencies
from sut.coordinator.recorder import RunRecorder
from sut.coordinator.replica import Replica
from sut.wire.messages import Completion, Failed, FirstToken, Outputs

_WHOLE = ("stop", "length")
"""Reasons for which an answer may end."""

Batch = list[tuple[int, bytes]]
"""LoadGen ids, each with its int32 tokens."""


class Responder(Protocol):
    """LoadGen's side of the run."""

    def first_tokens(self, batch: Batch) -> None:
        """Report first tokens of 4 bytes each."""

    def complete(self, batch: Batch) -> None:
        """Report whole answers."""


class TooManyRefusals(Exception):
    """Engines refused a sample as often as the configuration allows."""


class ResponseHandler:
    """Checks answers, and hands on what counts, in the batches that they come in."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        recorder: RunRecorder,
        responder: Responder,
        clock: RunClock,
        streaming: bool,
        max_attempts: int,
    ) -> None:
        """Take answers to the samples of `dispatcher`.

        Args:
            dispatcher: knows who holds which sample.
            recorder: records what is final.
            responder: passes to LoadGen what counts.
            clock: gives the times of first tokens and completions.
            streaming: whether each answer is announced by its first token.
            max_attempts: times that engines may refuse a sample.
        """
        self.latencies = RecentLatencies()
        self._dispatcher = dispatcher
        self._recorder = recorder
        self._responder = responder
        self._now_ns = clock.now_ns
        self._streaming = streaming
        self._max_attempts = max_attempts

    def take(self, replica: Replica, outputs: Outputs) -> None:
        """Take in what one engine step of `replica` produced.

        Answers that came before a wrong one in the same message count.

        Raises:
            UnexpectedAnswer: the replica answered what it was not asked.
            TooManyRefusals: the run cannot go on.
        """
        self._dispatcher.note_queue(replica.number, outputs.waiting, outputs.received)
        if outputs.first:
            self._begin(replica, outputs.first)
        if outputs.done:
            self._complete(replica, outputs.done)
        for failed in outputs.failed:
            self._retry(replica, failed)

    def _begin(self, replica: Replica, firsts: Sequence[FirstToken]) -> None:
        begin = self._dispatcher.begin
        number = replica.number
        batch: Batch = []
        now_ns = self._now_ns()
        try:
            for first in firsts:
                token = first.token
                if len(token) != 4:
                    raise UnexpectedAnswer(f"sample {first.seq}: no int32 first token")
                sample = begin(number, first.seq, first.attempt)
                if sample.first_token is not None:
                    # LoadGen has it from an earlier attempt; a second is an error.
                    continue
                sample.first_token = token
                sample.first_token_ns = now_ns
                batch.append((sample.query_id, token))
        finally:
            if batch:
                self._responder.first_tokens(batch)

    def _complete(self, replica: Replica, dones: Sequence[Completion]) -> None:
        held, complete = self._dispatcher.held, self._dispatcher.complete
        record, remember = self._recorder.completed, self.latencies.add
        number = replica.number
        batch: Batch = []
        now_ns = self._now_ns()
        try:
            for done in dones:
                sample = held(number, done.seq, done.attempt)
                if done.finish_reason not in _WHOLE:
                    cause = f"the engine ended its answer: {done.finish_reason}"
                    self._retry(replica, Failed(done.seq, done.attempt, cause))
                    continue
                tokens = done.tokens
                count, rest = divmod(len(tokens), 4)
                if rest or not count:
                    raise UnexpectedAnswer(f"sample {done.seq}: no int32 tokens")
                if self._streaming and sample.first_token != tokens[:4]:
                    self._doubt(sample, replica)
                batch.append((sample.query_id, tokens))
                record(sample, replica, done, now_ns)
                remember((sample, now_ns, count))
                complete(sample, count, now_ns)
        finally:
            if batch:
                self._responder.complete(batch)

    def _doubt(self, sample: Sample, replica: Replica) -> None:
        if sample.first_token is None:
            raise UnexpectedAnswer(f"sample {sample.seq} ended before it began")
        cause = "the recomputed answer begins with another token"
        self._recorder.event("protocol", cause, replica, sample.seq)

    def _retry(self, replica: Replica, failed: Failed) -> None:
        sample = self._dispatcher.held(replica.number, failed.seq, failed.attempt)
        self._dispatcher.requeue(sample)
        self._recorder.event("retry", failed.cause, replica, sample.seq)
        sample.refusals += 1
        if sample.refusals >= self._max_attempts:
            raise TooManyRefusals(
                f"sample {sample.seq} (index {sample.qsl_index}) failed"
                f" {sample.refusals} times, last: {failed.cause}"
            )
