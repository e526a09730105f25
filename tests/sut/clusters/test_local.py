import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from record.folder import RunFolder
from sut.clusters import local
from sut.clusters.base import Cluster
from sut.clusters.local import LocalCluster
from sut.wire.node_messages import Placement
from sut.wire.sockets import CoordinatorSocket
from tests.sut.clusters.contract import ClusterContract, running, wait_for

pytestmark = pytest.mark.integration


class TestLocal(ClusterContract):
    @pytest.fixture
    def cluster(self, tmp_path: Path) -> Iterator[LocalCluster]:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        cluster = LocalCluster(
            [Placement(replica=0, node="n"), Placement(replica=1, node="n", cpus=[0])],
            RunFolder(tmp_path),
            scratch,
            tmp_path / "cache",
            {"OF_THE_TEST": "1"},
        )
        yield cluster
        cluster.close(0)
        assert not scratch.exists(), "the guard removes it"

    def test_a_replica_has_its_cores_and_folders(
        self, cluster: Cluster, socket: CoordinatorSocket, tmp_path: Path
    ) -> None:
        process = psutil.Process(self.start(cluster, socket, 1))
        assert process.cpu_affinity() == [0]
        environment = process.environ()
        assert environment["OF_THE_TEST"] == "1"
        assert Path(environment["TMPDIR"]).parent == tmp_path / "scratch"
        assert environment["VLLM_CACHE_ROOT"].startswith(str(tmp_path / "cache"))
        assert os.getsid(process.pid) == process.pid

    def test_output_goes_to_the_run_folder(
        self, cluster: Cluster, socket: CoordinatorSocket, tmp_path: Path
    ) -> None:
        process = psutil.Process(self.start(cluster, socket, 0))
        log = RunFolder(tmp_path).replica_log(0)
        assert Path(f"/proc/{process.pid}/fd/2").stat().st_ino == log.stat().st_ino
        cluster.kill(0)
        wait_for(lambda: cluster.gone(0), "the end")
        assert log.exists()

    def test_a_replica_outlives_the_thread_that_asked_for_it(
        self, cluster: Cluster, socket: CoordinatorSocket
    ) -> None:
        pids: list[int] = []
        thread = threading.Thread(
            target=lambda: pids.append(self.start(cluster, socket, 0))
        )
        thread.start()
        thread.join(30)
        (pid,) = pids
        time.sleep(0.3)
        assert running(pid)
        assert cluster.exited() == {}

    def test_closing_twice_while_something_dies_does_no_harm(
        self,
        cluster: Cluster,
        socket: CoordinatorSocket,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        pid = self.start(cluster, socket, 0)
        with monkeypatch.context() as patch:
            # As a process that waits for its device: killed, and still there.
            patch.setattr(local, "members", lambda _group: [1])
            patch.setattr(local, "_KILL_WAIT_S", 0.1)
            cluster.kill(0)
            cluster.close(0)
            assert not cluster.gone(0)
            cluster.close(0)
            assert not cluster.gone(0)
        assert not running(pid)
        assert cluster.gone(0)

    def test_a_stopped_guard_keeps_nobody_waiting(
        self,
        cluster: LocalCluster,
        socket: CoordinatorSocket,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.setattr(local, "_GUARD_WAIT_S", 0.2)
        pid = self.start(cluster, socket, 0)
        guard = cluster._guard
        assert guard is not None
        os.kill(guard.process.pid, signal.SIGSTOP)
        for number in range(5000):
            guard.watch_memory(Path(f"/dev/shm/{number:0>40}"))
        cluster.close(0)
        assert not running(pid)
        wait_for(lambda: guard.process.poll() is not None, "the guard's end")
        (tmp_path / "scratch" / "0").rmdir()
        (tmp_path / "scratch").rmdir()
