"""Makes the records of a run and passes them to the writer."""

import platform
from typing import Literal

import numpy as np

from base.log import logger
from record.status import RunStatus
from record.steps import STEP
from record.structs import (
    DeviceLine,
    EngineLine,
    EventKind,
    EventRecord,
    HostLine,
    SampleRecord,
)
from record.writer import RecordWriter
from sut.clock import RunClock
from sut.coordinator.dispatcher import Sample, UnexpectedAnswer
from sut.coordinator.replica import Replica
from sut.telemetry import HostMonitor
from sut.wire.messages import Completion, Heartbeat, HostReading, Steps

_LOG = logger(__name__)

_OWN_HOST_NS = 1_000_000_000
_LONGEST_REASON = 160
_MOST = 2**63 - 1
StillOpen = Literal["lost", "unfinished"]
"""Status of a sample that is open when a run ends."""


class RunRecorder:
    """Writes samples, events, telemetry and engine steps."""

    def __init__(self, writer: RecordWriter, clock: RunClock) -> None:
        """Write to `writer`, with the time of `clock`."""
        self._writer = writer
        self._clock = clock
        self._own_host: HostMonitor | None = None
        self._host_unreadable = False
        """Whether reading the host has failed and this was reported."""
        self._looked_ns = 0
        self.step_tokens = 0
        """Tokens of prompts and answers that engines computed, by their steps."""

    @property
    def failure(self) -> Exception | None:
        """The error that stopped the writer, if any."""
        return self._writer.failure

    def status(self, status: RunStatus) -> None:
        """Record the state of the run, in place of the last one."""
        self._writer.status(status)

    def completed(
        self, sample: Sample, replica: Replica, done: Completion, completed_ns: int
    ) -> None:
        """Record an answer."""
        # By position: names would take four times as long, for every sample.
        self._writer.sample(
            SampleRecord(
                sample.seq,
                sample.qsl_index,
                replica.node,
                replica.number,
                sample.attempt,
                sample.issued_ns,
                sample.dispatched_ns,
                sample.first_token_ns,
                completed_ns,
                done.queue_ns,
                done.prefill_ns,
                done.decode_ns,
                sample.prompt_tokens,
                len(done.tokens) // 4,
                done.finish_reason,
                "completed",
                done.residence_ns,
                done.cached_tokens,
            )
        )

    def left_open(
        self, sample: Sample, node: str | None, status: StillOpen = "lost"
    ) -> None:
        """Record a sample that was still open when the run ended."""
        self._writer.sample(
            SampleRecord(
                seq=sample.seq,
                qsl_index=sample.qsl_index,
                node=node,
                replica=sample.replica,
                attempt=max(1, sample.attempt),
                issued_ns=sample.issued_ns,
                dispatched_ns=sample.dispatched_ns,
                first_token_ns=sample.first_token_ns,
                completed_ns=None,
                queue_ns=None,
                prefill_ns=None,
                decode_ns=None,
                prompt_tokens=sample.prompt_tokens,
                output_tokens=0,
                finish_reason=None,
                status=status,
            )
        )

    def event(
        self,
        kind: EventKind,
        cause: str,
        replica: Replica | None = None,
        seq: int | None = None,
    ) -> None:
        """Record a fault, or a reaction to one."""
        self._writer.event(
            EventRecord(
                t_ns=self._clock.now_ns(),
                kind=kind,
                node=replica.node if replica else None,
                replica=replica.number if replica else None,
                seq=seq,
                cause=cause,
            )
        )

    def heartbeat(self, replica: Replica, beat: Heartbeat) -> None:
        """Record the state of a replica's engine and devices."""
        now_ns = self._clock.now_ns()
        self._writer.telemetry(
            EngineLine(
                t_ns=now_ns,
                node=replica.node,
                replica=replica.number,
                running=beat.running,
                waiting=beat.waiting,
                kv_used=beat.kv_used,
                server_running=beat.server_running,
                server_waiting=beat.server_waiting,
                prefix_cache_hit_tokens=beat.prefix_cache_hit_tokens,
            )
        )
        self._host(now_ns, replica.node, replica.number, beat.host)
        if now_ns - self._looked_ns > _OWN_HOST_NS:
            self._looked_ns = now_ns
            self._host(now_ns, platform.node(), None, self._read_own_host())
        for reading in beat.devices:
            values = {
                name: getattr(reading, name) for name in reading.__struct_fields__
            }
            self._writer.telemetry(
                DeviceLine(
                    t_ns=now_ns, node=replica.node, replica=replica.number, **values
                )
            )

    def steps(self, replica: Replica, message: Steps) -> None:
        """Record engine steps of a replica that is ready.

        Raises:
            UnexpectedAnswer: they are no whole records.
        """
        if len(message.records) % STEP.itemsize:
            raise UnexpectedAnswer("a record of an engine step is cut off")
        records = np.frombuffer(message.records, STEP).copy()
        records["start_ns"] += self._clock.epoch_ns
        records["replica"] = replica.number
        if (records["start_ns"] < 0).any() or (records["duration_ns"] < 0).any():
            raise UnexpectedAnswer("an engine step has an impossible time")
        self._writer.steps(records.tobytes())
        tokens = records["prefill_tokens"].sum() + records["decode_sequences"].sum()
        self.step_tokens += int(tokens)
        if replica.record is not None:
            record = replica.record
            missing = (record.steps_missing or 0) + max(0, message.missing)
            record.steps_missing = min(missing, _MOST)
            record.steps_clock_error_ns = max(
                record.steps_clock_error_ns or 0, message.clock_error_ns
            )

    def _read_own_host(self) -> HostReading | None:
        """Return a reading; None if it fails, since this must not end a run."""
        try:
            if self._own_host is None:
                self._own_host = HostMonitor()
            return self._own_host.read()
        except Exception as error:  # noqa: BLE001  (kernels and their views differ)
            if not self._host_unreadable:
                self._host_unreadable = True
                reason = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
                _LOG.warning("no telemetry of the coordinator's host: %s", reason)
            return None

    def _host(
        self, t_ns: int, node: str, replica: int | None, host: HostReading | None
    ) -> None:
        if host is None:
            return
        values = {name: getattr(host, name) for name in host.__struct_fields__}
        self._writer.telemetry(
            HostLine(t_ns=t_ns, node=node, replica=replica, **values)
        )
