"""Runs without progress, clocks that are set, and pauses of the coordinator."""

import time
from pathlib import Path

import pytest

from record.folder import RunFolder
from record.writer import RecordWriter
from sut.clock import RunClock
from sut.coordinator.coordinator import Coordinator
from sut.coordinator.replica import Replica
from sut.wire.messages import (
    Heartbeat,
    Outputs,
    Ready,
)
from tests.run_folder import replica_record
from tests.sut.clusters.fake import (
    FakeCluster,
)
from tests.sut.coordinator.harness import (
    Wall,
    coordinator_parts,
    good,
    running,
)


@pytest.mark.integration
def test_a_run_without_progress_ends(tmp_path: Path) -> None:
    with running(tmp_path, lambda _replica, _requests: None, stall_s=0.5) as run:
        run.issue(3)
        reason = run.wait_failure()
    assert "no progress for 0." in reason
    assert [s.status for s in run.samples()] == ["lost"] * 3
    assert [e.kind for e in run.events()] == ["stall", "abort"]


def test_setting_the_hosts_clock_is_recorded(tmp_path: Path) -> None:
    wall = Wall()
    with running(tmp_path, good, wall=wall) as run:
        wall.set_by_s = 30
        run.issue(10)
        run.wait(10)
        wall.set_by_s = -3600
        run.coordinator.issue(range(2000, 2010), range(10))
        run.wait(20)
    (event,) = [e for e in run.events() if e.kind == "clock"]
    assert event.cause == "the host's clock was set by -3630.000 s"
    record = run.coordinator.clock.record()
    assert record.largest_drift_ns == pytest.approx(-3630e9, abs=1e6)
    for sample in run.samples():
        assert sample.dispatched_ns is not None
        assert sample.first_token_ns is not None
        assert sample.completed_ns is not None
        assert (
            record.begin_ns
            <= sample.issued_ns
            <= sample.dispatched_ns
            <= sample.first_token_ns
            <= sample.completed_ns
            <= record.end_ns
        )


def test_a_step_just_before_the_end_is_recorded(tmp_path: Path) -> None:
    wall = Wall()
    with running(tmp_path, good, wall=wall) as run:
        run.issue(10)
        run.wait(10)
        wall.set_by_s = 1
    assert [e.kind for e in run.events()] == ["clock"]


@pytest.mark.integration
def test_a_loadgen_that_issues_nothing_ends_the_run(tmp_path: Path) -> None:
    with running(tmp_path, good, stall_s=0.5) as run:
        run.issue(10)
        run.wait(10)
        reason = run.wait_failure()
    assert "LoadGen has issued nothing for" in reason
    assert [e.kind for e in run.events()] == ["stall", "abort"]
    assert {s.status for s in run.samples()} == {"completed"}


@pytest.mark.integration
def test_a_clock_set_back_is_named_where_it_stalls_loadgen(tmp_path: Path) -> None:
    wall = Wall()
    with running(tmp_path, good, stall_s=0.3, wall=wall) as run:
        run.issue(10)
        run.wait(10)
        wall.set_by_s = -3600
        reason = run.wait_failure()
    assert "LoadGen has issued nothing for" in reason
    assert "the host's clock, by which it waits, was set by -3600.0 s" in reason


@pytest.mark.integration
def test_a_loadgen_that_never_begins_ends_the_run(tmp_path: Path) -> None:
    with running(tmp_path, good, stall_s=0.5) as run:
        run.begin_test()
        assert "LoadGen has issued nothing for" in run.wait_failure()


@pytest.mark.parametrize("state", ["loading", "slow arrivals", "summing up"])
def test_a_loadgen_that_has_reason_to_be_quiet_is_left_alone(
    tmp_path: Path, state: str
) -> None:
    # No limit that is counted in seconds passes here: the coordinator is only asked.
    with running(tmp_path, good, stall_s=5) as run:
        assert run.coordinator.ready.wait(10)
        if state != "loading":
            run.begin_test(mean_gap_s=100.0 if state == "slow arrivals" else 0.0)
        if state == "summing up":
            run.coordinator.flush()
        limit = {"loading": float("inf"), "slow arrivals": 4000, "summing up": 600}
        assert run.coordinator.patience_s == limit[state]


class Clocks:
    """Clocks of the coordinator's thread that can jump."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._passed_s = self._worked_s = 0.0
        monotonic, thread_time = time.monotonic, time.thread_time
        patch.setattr(time, "monotonic", lambda: monotonic() + self._passed_s)
        patch.setattr(time, "thread_time", lambda: thread_time() + self._worked_s)

    def jump(self, seconds: float, worked_s: float = 0.0) -> None:
        """Let time pass, and `worked_s` of it at work."""
        self._passed_s += seconds
        self._worked_s += worked_s


def test_a_pause_of_the_coordinator_is_no_replicas_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(monkeypatch)
    with running(tmp_path, good, good) as run:
        run.begin_test()
        take, left = run.coordinator.answers.take, [90]

        def paused(replica: Replica, outputs: Outputs) -> None:
            take(replica, outputs)
            if left:
                clocks.jump(left.pop())

        monkeypatch.setattr(run.coordinator.answers, "take", paused)
        run.coordinator.issue(range(1000, 1040), range(40))
        run.wait_for(lambda: not left)
        run.wait(40)
    assert run.coordinator.failure is None
    assert run.events() == []
    assert any("did not run for 90." in event.cause for event in run.all_events())


class QueueSocket:
    """Stands in for the coordinator's socket: a queue of messages."""

    address = "ipc://nowhere"

    def __init__(self) -> None:
        self.messages: list[tuple[str, Heartbeat]] = []

    def receive(self) -> tuple[str, Heartbeat] | None:
        return self.messages.pop(0) if self.messages else None


class StillCluster(FakeCluster):
    """Starts nothing."""

    def start(self, replica: int, address: str, identity: str) -> None:
        pass


def test_a_sign_of_life_that_still_waits_in_the_queue_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(monkeypatch)
    socket = QueueSocket()
    with RecordWriter(RunFolder(tmp_path)) as writer:
        parts = coordinator_parts(
            writer, StillCluster([[good], [good], [good]]), RunClock()
        )
        parts.socket = socket  # type: ignore[assignment]
        coordinator = Coordinator(parts)
        coordinator.replicas.start()
        replicas = list(coordinator.replicas.by_number.values())
        for replica in replicas:
            record = replica_record(replica.number)
            coordinator.replicas.admit(replica, Ready(record, 8192))
        # The thread was at work all the time, and now takes in one message.
        clocks.jump(90, worked_s=90)
        beat = Heartbeat(0.0, 3, 0, None, [])
        socket.messages = [(replica.identity, beat) for replica in replicas[:2]]
        coordinator._take_in_messages(1)
        coordinator._check_health()
    assert {r.number for r in coordinator.replicas.active()} == {0, 1}, (
        "only the third was silent"
    )
    assert replicas[0].running == 3
