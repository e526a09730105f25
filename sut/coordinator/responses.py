"""Handles what replicas send: answers, failures and the records of engine steps."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np

from base.percentiles import loadgen_percentile
from sut.clock import RunClock
from sut.clusters.base import Cluster
from sut.coordinator.dispatcher import Dispatcher, Sample, UnexpectedAnswer
from sut.coordinator.recorder import RunRecorder
from sut.coordinator.replica import Replica, State
from sut.coordinator.replicas import ReplicaManager
from sut.wire.messages import Completion, Failed, FirstToken, Outputs, Steps
from sut.wire.sockets import CoordinatorSocket

_KEPT = 512


class RecentLatencies:
    """TTFT and TPOT of the last samples, measured from LoadGen's issue."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: deque[tuple[Sample, int, int]] = deque(maxlen=_KEPT)
        self.add: Callable[[tuple[Sample, int, int]], None] = self._kept.append
        """Take in a completed sample, the time in ns, and its number of tokens."""

    def ttft_ms(self, percentile: float) -> float | None:
        """Return this percentile (0 to 100) of TTFT in ms; None: nothing streamed."""
        return _percentile_ms(
            [
                sample.first_token_ns - sample.issued_ns
                for sample, _, _ in list(self._kept)
                if sample.first_token_ns is not None
            ],
            percentile,
        )

    def tpot_ms(self, percentile: float) -> float | None:
        """Return this percentile (0 to 100) of TPOT in ms; None: nothing streamed."""
        return _percentile_ms(
            [
                (completed - sample.first_token_ns) / (tokens - 1)
                for sample, completed, tokens in list(self._kept)
                if sample.first_token_ns is not None and tokens > 1
            ],
            percentile,
        )


def _percentile_ms(values: Sequence[float], percentile: float) -> float | None:
    found = loadgen_percentile(np.asarray(values, float), percentile / 100)
    return None if found is None else found / 1e6


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
    """Checks answers, records them and passes them to LoadGen, batch by batch."""

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
            dispatcher: knows which replica has which sample.
            recorder: records final samples.
            responder: LoadGen's side.
            clock: for the times of first tokens and completions.
            streaming: whether a first token is sent before each answer.
            max_attempts: how often engines may refuse a sample.
        """
        self.latencies = RecentLatencies()
        self._dispatcher = dispatcher
        self._recorder = recorder
        self._responder = responder
        self._now_ns = clock.now_ns
        self._streaming = streaming
        self._max_attempts = max_attempts

    def take(self, replica: Replica, outputs: Outputs) -> None:
        """Handle what one engine step of `replica` produced.

        If an answer is wrong, the answers before it in the same message still count.

        Raises:
            UnexpectedAnswer: the replica does not have the sample that it answered.
            TooManyRefusals: the run cannot continue.
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


_LAST_S = 3.0
"""Seconds that replicas have to send their last records after Stop."""
_POLL_S = 0.05


class StepIntake:
    """Records engine steps; fences a replica that sends invalid ones."""

    def __init__(self, replicas: ReplicaManager, recorder: RunRecorder) -> None:
        """Record steps of `replicas` by `recorder`."""
        self._replicas = replicas
        self._recorder = recorder

    def take(self, replica: Replica, message: Steps) -> None:
        """Record the steps in a message of `replica`."""
        if replica.state is not State.READY:
            self._replicas.fence(replica, "sent engine steps before it was ready")
            return
        try:
            self._recorder.steps(replica, message)
        except UnexpectedAnswer as error:
            self._replicas.fence(replica, f"sent wrong engine steps: {error}")

    def take_last(self, socket: CoordinatorSocket, cluster: Cluster) -> None:
        """Record the steps that replicas send before they end; drop other messages."""
        deadline = time.monotonic() + _LAST_S
        open_ = {r.number for r in self._replicas.active() if r.state is State.READY}
        while open_ and time.monotonic() < deadline:
            socket.poll(_POLL_S)
            exited = set(cluster.exited())
            while (received := socket.receive()) is not None:
                replica = self._replicas.with_identity(received[0])
                message = received[1]
                if replica is None or not isinstance(message, Steps):
                    continue
                with suppress(UnexpectedAnswer):
                    self._recorder.steps(replica, message)
                if message.last:
                    open_.discard(replica.number)
            open_ -= exited
