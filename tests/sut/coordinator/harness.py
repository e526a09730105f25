"""A coordinator over replicas of a test, and what stands for LoadGen."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conf.clusters import ClusterConfig
from record.folder import RunFolder, read_lines
from record.structs import EventRecord, SampleRecord
from record.writer import RecordWriter
from sut.balancers import make_balancer
from sut.clock import RunClock
from sut.clusters.base import Cluster
from sut.coordinator.coordinator import Coordinator, CoordinatorParts
from sut.coordinator.dispatcher import Dispatcher
from sut.coordinator.recorder import RunRecorder
from sut.coordinator.responses import Batch
from sut.wire.messages import (
    ReplicaSpec,
    Request,
    WarmupSpec,
)
from sut.wire.sockets import CoordinatorSocket, Endpoint
from tests.sut.clusters.fake import (
    Behavior,
    FakeCluster,
    FakeReplica,
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


def leaves(replica: FakeReplica, _requests: list[Request]) -> None:
    replica.process.kill()
