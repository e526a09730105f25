import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from record.folder import RunFolder
from sut.clusters.base import Cluster, Placement
from sut.clusters.local import LocalCluster
from sut.transport import CoordinatorSocket
from tests.sut.clusters.contract import ClusterContract, wait_for

pytestmark = pytest.mark.integration


class TestLocal(ClusterContract):
    @pytest.fixture
    def cluster(self, tmp_path: Path) -> Iterator[Cluster]:
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
