"""Replicas that are lost and return."""

from pathlib import Path

import pytest

from record.folder import RunFolder
from sut.clusters.local import LocalCluster
from sut.wire.node_messages import Placement
from tests.sut.clusters.contract import wait_for
from tests.sut.clusters.fake import (
    FakeReplica,
)
from tests.sut.coordinator.harness import (
    events_of,
    good,
    leaves,
    running,
    running_over,
)


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
