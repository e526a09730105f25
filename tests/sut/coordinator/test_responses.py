"""Records of engine steps on their way from replicas to the run folder."""

from pathlib import Path

import numpy as np
import pytest

from record.folder import RunFolder
from record.steps import STEP, read_steps
from record.writer import RecordWriter
from sut.clock import RunClock
from sut.coordinator.coordinator import Coordinator
from sut.wire.messages import Request, Steps
from sut.wire.sockets import CoordinatorSocket, Endpoint
from tests.sut.clusters.fake import FakeCluster, FakeReplica
from tests.sut.coordinator.harness import (
    Answers,
    Run,
    coordinator_parts,
    good,
    running,
    running_over,
)


def _message(*starts: int, missing: int = 0, last: bool = False) -> Steps:
    steps = np.zeros(len(starts), STEP)
    steps["start_ns"] = starts
    return Steps(steps.tobytes(), missing, 40, last)


class _LeavingReplica(FakeReplica):
    """Sends its last steps when it is stopped."""

    def exit(self, code: int) -> None:
        if code == 0:
            self.send(_message(3000, missing=2, last=True))
        super().exit(code)


def _busy(replica: FakeReplica, requests: list[Request]) -> None:
    replica.send(_message(1000, 2000, missing=1))
    good(replica, requests)


def test_steps_are_written_by_replica_on_the_runs_clock(tmp_path: Path) -> None:
    cluster = FakeCluster([[_busy], [_busy]])
    cluster.kinds = {(0, 1): _LeavingReplica, (1, 1): _LeavingReplica}
    answers, clock = Answers(), RunClock()
    with RecordWriter(RunFolder(tmp_path), steps=True) as writer:
        parts = coordinator_parts(writer, cluster, clock)
        parts.replica_spec.engine.steps = True
        parts.responder = answers
        parts.socket = CoordinatorSocket(Endpoint(address=f"ipc://{tmp_path}/socket"))
        coordinator = Coordinator(parts)
        run = Run(RunFolder(tmp_path), coordinator, cluster, answers)
        coordinator.start()
        try:
            run.issue(50)
            run.wait(50)
        finally:
            coordinator.close()
    steps = read_steps(RunFolder(tmp_path).steps)
    for number in range(2):
        starts = steps["start_ns"][steps["replica"] == number] - clock.epoch_ns
        assert set(starts.tolist()) == {1000, 2000, 3000}
        assert starts[-1] == 3000, "sent after the run, and last"
    for record in coordinator.replicas.records():
        sent = (steps["replica"] == record.replica).sum()
        assert record.steps_missing == (sent - 1) // 2 + 2
        assert record.steps_clock_error_ns == 40
    assert run.events() == []


def _cut_off(replica: FakeReplica, _requests: list[Request]) -> None:
    replica.send(Steps(b"x" * (STEP.itemsize + 1), 0, 0, False))


def _before_time(replica: FakeReplica, _requests: list[Request]) -> None:
    replica.send(_message(-(2**62)))


@pytest.mark.parametrize(
    ("behavior", "cause"),
    [
        (_cut_off, "a record of an engine step is cut off"),
        (_before_time, "an engine step has an impossible time"),
    ],
)
def test_who_sends_wrong_steps_is_fenced(
    tmp_path: Path, behavior: object, cause: str
) -> None:
    with running(tmp_path, behavior, good) as run:  # type: ignore[arg-type]
        run.issue(50)
        run.wait(50)
    assert len(run.complete) == 50
    fences = [event for event in run.events() if event.kind == "fence"]
    assert [(f.replica, f.cause) for f in fences] == [
        (0, f"sent wrong engine steps: {cause}")
    ]


class _EarlyReplica(FakeReplica):
    """Sends steps before it is ready."""

    def run(self) -> None:
        self.early = True
        super().run()

    def send(self, message: object) -> None:
        super().send(message)
        if self.early:
            self.early = False
            super().send(_message(1))


def test_steps_of_a_replica_that_is_not_ready(tmp_path: Path) -> None:
    cluster = FakeCluster([[good]])
    cluster.kinds = {(0, 1): _EarlyReplica}
    with running_over(tmp_path, cluster) as coordinator:
        assert coordinator.ready.wait(10)
        assert "sent engine steps before it was ready" in str(coordinator.failure)
