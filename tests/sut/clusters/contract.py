"""What every cluster must do: inherit from this and give it a `cluster` fixture.

The cluster under test has two placements, 0 and 1, and is closed by its fixture.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sut.clusters.base import Cluster
from sut.wire.messages import Hello
from sut.wire.sockets import CoordinatorSocket, Endpoint


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, at most 20 s."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.02)


def running(pid: int) -> bool:
    """Return whether a process lives and is no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class ClusterContract:
    """Assertions that hold for every cluster."""

    @pytest.fixture
    def socket(self, tmp_path: Path) -> Iterator[CoordinatorSocket]:
        socket = CoordinatorSocket(Endpoint(address=f"ipc://{tmp_path}/socket"))
        yield socket
        socket.close()

    @staticmethod
    def start(cluster: Cluster, socket: CoordinatorSocket, replica: int) -> int:
        """Start a replica; return its process id, which it tells by itself."""
        identity = f"r{replica}-{time.monotonic_ns()}"
        cluster.start(replica, socket.address, identity)
        for _ in range(200):
            socket.poll(0.1)
            while (received := socket.receive()) is not None:
                name, message = received
                if name == identity and isinstance(message, Hello):
                    return message.pid
        raise AssertionError("no word from the replica")

    def test_replicas_start_and_are_distinguished(
        self, cluster: Cluster, socket: CoordinatorSocket
    ) -> None:
        assert [place.replica for place in cluster.placements] == [0, 1]
        pids = {self.start(cluster, socket, replica) for replica in (0, 1)}
        assert len(pids) == 2
        assert cluster.exited() == {}

    def test_how_a_replica_ended_is_known(
        self, cluster: Cluster, socket: CoordinatorSocket
    ) -> None:
        pids = [self.start(cluster, socket, replica) for replica in (0, 1)]
        os.kill(pids[1], signal.SIGKILL)
        wait_for(lambda: bool(cluster.exited()), "the end")
        assert cluster.exited() == {1: "killed by SIGKILL"}

    def test_a_killed_replica_goes_and_may_be_started_anew(
        self, cluster: Cluster, socket: CoordinatorSocket
    ) -> None:
        pid = self.start(cluster, socket, 0)
        cluster.kill(0)
        wait_for(lambda: cluster.gone(0), "the end")
        assert not running(pid)
        assert cluster.exited() == {}, "it was asked for"
        again = self.start(cluster, socket, 0)
        assert again != pid
        assert cluster.exited() == {}

    def test_a_stopped_replica_can_be_killed(
        self, cluster: Cluster, socket: CoordinatorSocket
    ) -> None:
        pid = self.start(cluster, socket, 0)
        os.kill(pid, signal.SIGSTOP)
        cluster.kill(0)
        wait_for(lambda: cluster.gone(0), "the end")
        assert not running(pid)

    def test_killing_twice_or_what_never_ran_does_no_harm(
        self, cluster: Cluster, socket: CoordinatorSocket
    ) -> None:
        assert cluster.gone(1)
        cluster.kill(1)
        assert cluster.gone(1)
        self.start(cluster, socket, 0)
        cluster.kill(0)
        cluster.kill(0)
        wait_for(lambda: cluster.gone(0), "the end")

    def test_nothing_runs_after_close(
        self, cluster: Cluster, socket: CoordinatorSocket
    ) -> None:
        pids = [self.start(cluster, socket, replica) for replica in (0, 1)]
        cluster.on_ready(0)
        begun = time.monotonic()
        cluster.close(0.5)
        assert time.monotonic() - begun >= 0.5, "they were given their time"
        assert not any(running(pid) for pid in pids)
        cluster.close(0)
