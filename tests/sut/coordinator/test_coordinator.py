"""A coordinator over replicas that misbehave."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conf.schema import ClusterConfig
from record.folder import RunFolder, read_lines
from record.structs import EventRecord, SampleRecord
from record.writer import RecordWriter
from sut.balancers import make_balancer
from sut.clock import RunClock
from sut.clusters.base import Cluster
from sut.clusters.local import LocalCluster
from sut.coordinator.coordinator import Coordinator, CoordinatorParts
from sut.coordinator.dispatcher import Dispatcher
from sut.coordinator.recorder import RunRecorder
from sut.coordinator.replica import Replica
from sut.coordinator.responses import Batch
from sut.wire.messages import (
    Failed,
    Fatal,
    FirstToken,
    Heartbeat,
    Outputs,
    Ready,
    ReplicaSpec,
    Request,
    WarmupSpec,
)
from sut.wire.node_messages import Placement
from sut.wire.sockets import CoordinatorSocket, Endpoint
from tests.run_folder import replica_record
from tests.sut.clusters.contract import wait_for
from tests.sut.clusters.fake import (
    TOKENS,
    Behavior,
    FakeCluster,
    FakeReplica,
    done,
)
from tests.sut.engines.contract import spec
from tests.sut.engines.test_synthetic import OPTIONS

SAMPLES = 50
REAL_MONOTONIC = time.monotonic


def good(replica: FakeReplica, requests: list[Request]) -> None:
    for request in requests:
        replica.answer(request)


class Wall:
    """The host's clock, which can be set."""

    def __init__(self) -> None:
        self.set_by_s = 0.0

    def time_ns(self) -> int:
        return time.time_ns() + int(self.set_by_s * 1e9)


def events_of(folder: RunFolder) -> list[EventRecord]:
    return list(read_lines(folder.events, EventRecord))


class Answers:
    """Stands for LoadGen: keeps what is reported to it."""

    def __init__(self) -> None:
        self.first: list[tuple[int, bytes]] = []
        self.whole: list[tuple[int, bytes]] = []

    def first_tokens(self, batch: Batch) -> None:
        self.first += batch

    def complete(self, batch: Batch) -> None:
        self.whole += batch


class Run:
    """A coordinator, and what it reports to LoadGen."""

    def __init__(
        self,
        folder: RunFolder,
        coordinator: Coordinator,
        cluster: FakeCluster,
        answers: Answers,
    ) -> None:
        self.folder = folder
        self.coordinator = coordinator
        self.cluster = cluster
        self.first, self.complete = answers.first, answers.whole

    def begin_test(self, mean_gap_s: float = 0.0) -> None:
        assert self.coordinator.ready.wait(10)
        self.coordinator.begin_test(mean_gap_s)

    def issue(self, count: int) -> None:
        self.begin_test()
        self.coordinator.issue(range(1000, 1000 + count), range(count))

    def wait(self, count: int) -> None:
        self.wait_for(
            lambda: len(self.complete) >= count or self.coordinator.failure is not None
        )

    def wait_failure(self) -> str:
        self.wait_for(lambda: self.coordinator.failure is not None)
        return str(self.coordinator.failure)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = REAL_MONOTONIC() + 10
        while not condition():
            assert REAL_MONOTONIC() < deadline, f"{len(self.complete)} completed"
            time.sleep(0.01)

    def events(self) -> list[EventRecord]:
        # The machine that runs the tests may be busy for a second or two.
        return [event for event in self.all_events() if event.kind != "pause"]

    def all_events(self) -> list[EventRecord]:
        return events_of(self.folder)

    def samples(self) -> list[SampleRecord]:
        return list(read_lines(self.folder.samples, SampleRecord))


def coordinator_parts(
    writer: RecordWriter, cluster: Cluster, clock: RunClock
) -> CoordinatorParts:
    """Return parts that lack a socket."""
    return CoordinatorParts(
        config=ClusterConfig(name="local", heartbeat_timeout_s=60, max_attempts=3),
        cluster=cluster,
        dispatcher=Dispatcher(
            make_balancer(None, True), [10] * SAMPLES, [128] * SAMPLES
        ),
        recorder=RunRecorder(writer, clock),
        clock=clock,
        responder=Answers(),
        replica_spec=ReplicaSpec(
            spec(streaming=True, options=OPTIONS), WarmupSpec(10, 10, 1, 100)
        ),
        prompts=[(index.to_bytes(4, "little"), None) for index in range(SAMPLES)],
        socket=None,  # type: ignore[arg-type]
        stall_timeout_s=60,
    )


@contextmanager
def running(
    tmp_path: Path,
    *behaviors: Behavior | list[Behavior],
    stall_s: float = 60,
    restarts: int = 0,
    wall: Wall | None = None,
) -> Iterator[Run]:
    cluster = FakeCluster([b if isinstance(b, list) else [b] for b in behaviors])
    answers = Answers()
    with running_over(
        tmp_path, cluster, stall_s, restarts, wall, answers
    ) as coordinator:
        yield Run(RunFolder(tmp_path), coordinator, cluster, answers)


@contextmanager
def running_over(
    tmp_path: Path,
    cluster: Cluster,
    stall_s: float = 60,
    restarts: int = 0,
    wall: Wall | None = None,
    answers: Answers | None = None,
) -> Iterator[Coordinator]:
    """Yield a coordinator that runs over `cluster`."""
    with RecordWriter(RunFolder(tmp_path)) as writer:
        clock = RunClock(wall.time_ns) if wall else RunClock()
        parts = coordinator_parts(writer, cluster, clock)
        parts.config.restarts = restarts
        parts.stall_timeout_s = stall_s
        parts.responder = answers or parts.responder
        parts.socket = CoordinatorSocket(Endpoint(address=f"ipc://{tmp_path}/socket"))
        coordinator = Coordinator(parts)
        coordinator.start()
        try:
            yield coordinator
        finally:
            coordinator.close()


def test_good_replicas(tmp_path: Path) -> None:
    with running(tmp_path, good, good) as run:
        run.issue(50)
        run.wait(50)
    assert sorted(i for i, _ in run.complete) == list(range(1000, 1050))
    assert len(run.first) == 50
    assert run.coordinator.failure is None
    assert run.events() == []
    assert {s.seq for s in run.samples()} == set(range(50))


def answers_twice(replica: FakeReplica, requests: list[Request]) -> None:
    for request in requests:
        replica.answer(request)
        replica.answer(request)


def answers_anothers(replica: FakeReplica, requests: list[Request]) -> None:
    replica.answer(Request(999, 1, b""))


def malformed(replica: FakeReplica, _requests: list[Request]) -> None:
    replica.send_raw(b"\xc1junk")


def half_a_token(replica: FakeReplica, requests: list[Request]) -> None:
    replica.answer(requests[0], TOKENS[:5])


def ends_before_it_begins(replica: FakeReplica, requests: list[Request]) -> None:
    replica.send(Outputs([], [done(requests[0])], [], 0, 0))


def no_tokens(replica: FakeReplica, requests: list[Request]) -> None:
    replica.send(Outputs([], [done(requests[0], b"")], [], 0, 0))


def wrong_attempt(replica: FakeReplica, requests: list[Request]) -> None:
    replica.answer(Request(requests[0].seq, 7, b""))


def ready_twice(replica: FakeReplica, _requests: list[Request]) -> None:
    replica.send(Ready(replica_record(0), 8192))


def crashes(replica: FakeReplica, _requests: list[Request]) -> None:
    replica.send(Fatal("crash", "CUDA error: out of memory"))


def leaves(replica: FakeReplica, _requests: list[Request]) -> None:
    replica.process.kill()


def begins_twice(replica: FakeReplica, requests: list[Request]) -> None:
    first = FirstToken(requests[0].seq, requests[0].attempt, TOKENS[:4])
    replica.send(Outputs([first, first], [], [], 0, 0))


def begins_only(replica: FakeReplica, requests: list[Request]) -> None:
    begun = [FirstToken(r.seq, r.attempt, TOKENS[:4]) for r in requests]
    replica.send(Outputs(begun, [], [], 0, 0))
    replica.send(Fatal("crash", "killed half-way"))


@pytest.mark.parametrize(
    ("behavior", "cause"),
    [
        (answers_twice, "answered out of turn"),
        (answers_anothers, "answered out of turn: sample 999"),
        (malformed, "malformed message"),
        (half_a_token, "no int32 tokens"),
        (ends_before_it_begins, "ended before it began"),
        (no_tokens, "no int32 tokens"),
        (wrong_attempt, "attempt 7 is not with this replica"),
        (ready_twice, "reported twice"),
        (crashes, "out of memory"),
        (leaves, "its process killed by SIGKILL"),
        (begins_only, "killed half-way"),
        (begins_twice, "began twice"),
    ],
)
def test_a_replica_that_misbehaves_is_fenced_and_costs_nothing(
    tmp_path: Path, behavior: Behavior, cause: str
) -> None:
    with running(tmp_path, behavior, good) as run:
        run.issue(40)
        run.wait(40)
    expected = [i for i, _ in run.complete]
    assert sorted(expected) == list(range(1000, 1040)), "each once"
    assert len({i for i, _ in run.first}) == len(run.first) == 40
    (fence,) = [e for e in run.events() if e.kind == "fence"]
    assert fence.replica == 0
    assert cause in fence.cause
    assert {s.status for s in run.samples()} == {"completed"}
    assert not any(e.kind == "protocol" for e in run.events())


def test_a_recomputed_answer_that_begins_differently_is_recorded(
    tmp_path: Path,
) -> None:
    def other(replica: FakeReplica, requests: list[Request]) -> None:
        for request in requests:
            replica.answer(request, b"\x09\x00\x00\x00" * 3)

    with running(tmp_path, begins_only, other) as run:
        run.issue(10)
        run.wait(10)
    protocol = [e for e in run.events() if e.kind == "protocol"]
    retried = {s.seq for s in run.samples() if s.attempt == 2}
    assert {e.seq for e in protocol} == retried
    assert retried


def test_a_failed_request_is_tried_again(tmp_path: Path) -> None:
    def fails_first(replica: FakeReplica, requests: list[Request]) -> None:
        for request in requests:
            if request.attempt == 1 and request.seq % 2:
                failure = Failed(request.seq, 1, "no room")
                replica.send(Outputs([], [], [failure], 0, 0))
            else:
                replica.answer(request)

    with running(tmp_path, fails_first) as run:
        run.issue(10)
        run.wait(10)
    assert run.coordinator.failure is None
    assert {s.seq: s.attempt for s in run.samples()} == {
        seq: 2 if seq % 2 else 1 for seq in range(10)
    }
    assert [e.kind for e in run.events()] == ["retry"] * 5


def test_an_answer_that_was_cut_short_is_tried_again(tmp_path: Path) -> None:
    def aborts_first(replica: FakeReplica, requests: list[Request]) -> None:
        for request in requests:
            if request.attempt == 1:
                cut = done(request)
                cut.finish_reason = "abort"
                first = FirstToken(request.seq, 1, TOKENS[:4])
                replica.send(Outputs([first], [cut], [], 0, 0))
            else:
                replica.answer(request)

    with running(tmp_path, aborts_first) as run:
        run.issue(4)
        run.wait(4)
    assert len(run.first) == 4
    assert {s.attempt for s in run.samples()} == {2}
    assert all("abort" in e.cause for e in run.events())


def test_a_sample_that_always_fails_ends_the_run(tmp_path: Path) -> None:
    def fails(replica: FakeReplica, requests: list[Request]) -> None:
        for request in requests:
            failure = Failed(request.seq, request.attempt, "no room")
            replica.send(Outputs([], [], [failure], 0, 0))

    with running(tmp_path, fails) as run:
        run.issue(1)
        reason = run.wait_failure()
    assert "sample 0 (index 0) failed 3 times, last: no room" in reason
    assert [s.status for s in run.samples()] == ["lost"]


def test_what_is_issued_after_a_failure_is_recorded_as_lost(tmp_path: Path) -> None:
    with running(tmp_path, leaves) as run:
        run.issue(2)
        run.wait_failure()
        run.coordinator._thread.join(10)
        run.coordinator.issue(range(2000, 2003), range(3))
    assert [s.status for s in run.samples()] == ["lost"] * 5


@pytest.mark.integration
def test_a_run_without_progress_ends(tmp_path: Path) -> None:
    with running(tmp_path, lambda _replica, _requests: None, stall_s=0.5) as run:
        run.issue(3)
        reason = run.wait_failure()
    assert "no progress for 0." in reason
    assert [s.status for s in run.samples()] == ["lost"] * 3
    assert [e.kind for e in run.events()] == ["stall", "abort"]


def test_without_a_replica_the_run_ends(tmp_path: Path) -> None:
    with running(tmp_path, leaves, leaves) as run:
        run.issue(6)
        reason = run.wait_failure()
    assert "no replica is left" in reason
    assert {s.status for s in run.samples()} == {"lost"}
    assert len(run.samples()) == 6


def test_a_lost_replica_may_return(tmp_path: Path) -> None:
    with running(tmp_path, [leaves, good], restarts=1) as run:
        run.issue(6)
        run.wait(6)
        (record,) = run.coordinator.replicas.records()
    assert run.coordinator.failure is None
    assert record.restarts == 1
    assert {s.attempt for s in run.samples()} == {2}
    kinds = [e.kind for e in run.events() if e.kind != "retry"]
    assert kinds == ["death", "fence", "rejoin"]


@pytest.mark.integration
def test_a_replica_returns_only_once_its_old_process_is_gone(tmp_path: Path) -> None:
    with running(tmp_path, [leaves, good], good, restarts=1) as run:
        cluster = run.cluster
        cluster.lingering[0] = 0
        run.issue(6)
        run.wait(6)
        run.wait_for(lambda: cluster.lingering[0] >= 3)
        assert cluster.starts[0] == 1, "it may hold the memory of its device"
        cluster.lingering.clear()
        run.wait_for(lambda: 0 in run.coordinator.dispatcher.replicas)
        assert cluster.starts[0] == 2
    assert run.coordinator.failure is None


def test_a_process_that_never_goes_keeps_no_run_from_ending(tmp_path: Path) -> None:
    with running(tmp_path, [leaves, good], good, restarts=1) as run:
        run.cluster.lingering[0] = 0
        run.issue(6)
        run.wait(6)
    assert run.cluster.starts[0] == 1
    assert {s.status for s in run.samples()} == {"completed"}


@pytest.mark.integration
def test_a_replica_returns_only_so_often(tmp_path: Path) -> None:
    with running(tmp_path, [leaves, leaves, leaves], restarts=2) as run:
        run.issue(6)
        reason = run.wait_failure()
    assert "no replica is left" in reason
    assert [e.kind for e in run.events()].count("fence") == 3


@pytest.mark.integration
def test_a_replica_that_is_lost_while_it_returns_costs_nothing(tmp_path: Path) -> None:
    class NeverReady(FakeReplica):
        def run(self) -> None:
            self.exit(3)

    with running(tmp_path, [leaves, good, good], good, restarts=2) as run:
        cluster = run.cluster
        cluster.kinds = {(0, 2): NeverReady}
        run.issue(20)
        run.wait(20)
        run.wait_for(lambda: cluster.starts[0] == 3)
    assert run.coordinator.failure is None
    assert {s.status for s in run.samples()} == {"completed"}


def test_a_replica_that_cannot_be_started_anew_stays_lost(tmp_path: Path) -> None:
    with running(tmp_path, [leaves], good, restarts=1) as run:
        run.issue(6)
        run.wait(6)
        run.wait_for(lambda: run.coordinator.replicas.fences == 2)
    assert run.coordinator.failure is None
    causes = [e.cause for e in run.events() if e.kind == "fence"]
    assert "cannot be restarted: no memory" in causes


@pytest.mark.integration
def test_a_replica_that_came_back_leaves_by_itself(tmp_path: Path) -> None:
    # The kernel kills a replica as soon as the thread that started it ends; what came
    # back was started for the coordinator's thread, which ends before replicas leave.
    folder, scratch = RunFolder(tmp_path), tmp_path / "scratch"
    scratch.mkdir()
    cluster = LocalCluster(
        [Placement(replica=0, node="n1")], folder, scratch, tmp_path / "cache", {}
    )
    with running_over(tmp_path, cluster, restarts=1) as coordinator:
        assert coordinator.ready.wait(30)
        first = cluster._processes[0]
        first.kill()
        wait_for(
            lambda: any(e.kind == "rejoin" for e in events_of(folder)), "the return"
        )
        again = cluster._processes[0]
        assert again is not first
    assert coordinator.failure is None
    assert again.returncode == 0


def test_a_cluster_that_cannot_be_closed_is_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_grace_s: float) -> None:
        raise OSError("no such process")

    with (
        monkeypatch.context() as patch,
        pytest.raises(OSError, match="no such process"),
        running(tmp_path, good) as run,
    ):
        patch.setattr(run.cluster, "close", refuses)
    run.cluster.close(0)


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
