import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.errors import UserError
from conf.schema import ExternalConfig
from record.folder import RunFolder
from record.source import source_digest
from sut.clusters.base import Cluster
from sut.clusters.external import ExternalCluster
from sut.clusters.placement import place
from sut.clusters.registration import Node, NodeRegistration, NodesSocket
from sut.node.agent import NodeSocket
from sut.wire.keys import ClusterKey, read_key
from sut.wire.node_messages import NODE_PROTOCOL, Join, Refused, ToNode
from sut.wire.sockets import CoordinatorSocket, Endpoint
from tests.external_nodes import Nodes
from tests.sut.clusters.contract import ClusterContract, running, wait_for

pytestmark = pytest.mark.integration
SILENCE_S = 8.0


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with Nodes(tmp_path) as nodes:
        yield nodes


@pytest.fixture
def key(nodes: Nodes) -> ClusterKey:
    return read_key(nodes.key)


def config(nodes: Nodes, count: int = 2, timeout_s: float = 30) -> ExternalConfig:
    return ExternalConfig(
        name="external",
        nodes=count,
        key=str(nodes.key),
        listen=f"127.0.0.1:{nodes.port}",
        join_timeout_s=timeout_s,
        replicas=2,
        gpus_per_replica=0,
    )


def gathering(
    nodes: Nodes, said: list[str] | None = None, source: str = "", **options: float
) -> NodeRegistration:
    address = f"tcp://127.0.0.1:{nodes.port}"
    return NodeRegistration(
        socket=NodesSocket(Endpoint(address=address, key=read_key(nodes.key))),
        config=config(nodes, **options),  # type: ignore[arg-type]
        source=source or source_digest(),
        notify=([] if said is None else said).append,
    )


def gather(nodes: Nodes) -> tuple[NodesSocket, list[Node]]:
    waiting = gathering(nodes)
    return waiting.socket, waiting.wait()


def make_cluster(nodes: Nodes, folder: Path) -> ExternalCluster:
    joining, joined = gather(nodes)
    hosts = [node.host for node in joined]
    return ExternalCluster(
        joining,
        joined,
        place(config(nodes), hosts, keep_shares=True),
        RunFolder(folder),
        # Has each replica write some kilobytes to its log.
        {"OF_THE_TEST": "1", "PYTHONPROFILEIMPORTTIME": "1"},
        SILENCE_S,
    )


class TestExternal(ClusterContract):
    @pytest.fixture
    def cluster(self, nodes: Nodes, tmp_path: Path) -> Iterator[Cluster]:
        cluster = make_cluster(nodes, tmp_path)
        yield cluster
        cluster.close(0)

    @pytest.fixture
    def socket(self, nodes: Nodes, key: ClusterKey) -> Iterator[CoordinatorSocket]:
        address = f"tcp://127.0.0.1:{nodes.port + 1}"
        socket = CoordinatorSocket(Endpoint(address=address, key=key))
        yield socket
        socket.close()

    def test_each_node_has_its_replica(
        self, cluster: Cluster, socket: CoordinatorSocket
    ) -> None:
        assert [place.node for place in cluster.placements] == ["n0", "n1"]
        pid = self.start(cluster, socket, 1)
        environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
        assert "OF_THE_TEST=1" in environment
        assert "--node\0n1" in Path(f"/proc/{pid}/cmdline").read_text()

    def test_output_comes_to_the_run_folder(
        self, cluster: Cluster, socket: CoordinatorSocket, tmp_path: Path
    ) -> None:
        self.start(cluster, socket, 0)
        cluster.close(0)
        text = RunFolder(tmp_path).replica_log(0).read_text()
        assert "import time:" in text
        assert "zmq" in text

    def test_a_killed_node_takes_its_replicas_along(
        self, cluster: Cluster, socket: CoordinatorSocket, nodes: Nodes
    ) -> None:
        pids = [self.start(cluster, socket, replica) for replica in (0, 1)]
        nodes.all[1].signal(signal.SIGKILL)
        wait_for(lambda: not running(pids[1]), "the end")
        wait_for(lambda: bool(cluster.exited()), "its being noticed")
        assert list(cluster.exited()) == [1]
        assert cluster.exited()[1].startswith("was on node n1, which ")
        cluster.kill(1)
        assert cluster.gone(1)
        with pytest.raises(OSError, match="node n1"):
            cluster.start(1, socket.address, "again")
        assert running(pids[0])

    def test_a_mute_node_is_lost_and_gives_up_by_itself(
        self, cluster: Cluster, socket: CoordinatorSocket, nodes: Nodes
    ) -> None:
        pid = self.start(cluster, socket, 1)
        nodes.all[1].signal(signal.SIGSTOP)
        wait_for(lambda: bool(cluster.exited()), "its being noticed")
        assert "sent no heartbeat" in cluster.exited()[1]
        cluster.close(0)
        nodes.all[1].signal(signal.SIGCONT)
        wait_for(lambda: not running(pid), "the end")
        wait_for(lambda: "run given up" in nodes.all[1].said, "its word")

    def test_nodes_survive_their_coordinator(
        self, cluster: ExternalCluster, socket: CoordinatorSocket, nodes: Nodes
    ) -> None:
        pids = [self.start(cluster, socket, replica) for replica in (0, 1)]
        cluster._socket.close()
        wait_for(lambda: not any(running(pid) for pid in pids), "the end")
        again, joined = gather(nodes)
        assert [node.host.name for node in joined] == ["n0", "n1"]
        again.close()


def test_nodes_that_do_not_come_are_reported(nodes: Nodes) -> None:
    said: list[str] = []
    waiting = gathering(nodes, said, count=3, timeout_s=4)
    with pytest.raises(
        UserError, match=r"2 of 3 nodes have joined within.*mlperf-sut node"
    ):
        waiting.wait()
    assert sorted(line for line in said if "joined:" in line) == [
        f"n{n} joined: 0 GPUs, {len(os.sched_getaffinity(0))} cores" for n in (0, 1)
    ]
    waiting.socket.close()


def test_a_node_that_goes_again_is_waited_for(nodes: Nodes) -> None:
    said: list[str] = []
    waiting = gathering(nodes, said, count=3, timeout_s=12)
    nodes.all[0].signal(signal.SIGKILL)
    nodes.all[0].wait()
    with pytest.raises(UserError, match=r"1 of 3 nodes"):
        waiting.wait()
    waiting.socket.close()


def test_a_node_that_died_just_now_is_not_counted(
    nodes: Nodes, key: ClusterKey
) -> None:
    """The count is full while the first is dead already: it must be waited for."""
    said: list[str] = []
    waiting = gathering(nodes, said, count=3, timeout_s=9)
    third = NodeSocket(f"tcp://127.0.0.1:{nodes.port}", "n2-once", key)
    third.send(Join(NODE_PROTOCOL, "n2", [], [0], source_digest()))
    with pytest.raises(UserError, match="2 of 3 nodes have joined"):
        waiting.wait()
    assert "n2 has left again" in said
    third.close()
    waiting.socket.close()


def test_other_code_is_refused_at_both_ends(nodes: Nodes) -> None:
    waiting = gathering(nodes, source="of another release")
    with pytest.raises(UserError, match="runs other code"):
        waiting.wait()
    wait_for(
        lambda: any(node.process.poll() == 2 for node in nodes.all), "a node's end"
    )
    assert any("runs other code" in node.said for node in nodes.all)
    waiting.socket.close()


def test_two_nodes_of_one_name_are_reported(nodes: Nodes, key: ClusterKey) -> None:
    waiting = gathering(nodes, count=3)
    answers: list[ToNode] = []

    def join() -> None:
        second = NodeSocket(f"tcp://127.0.0.1:{nodes.port}", "n0-second", key)
        while not over.is_set():
            second.send(Join(NODE_PROTOCOL, "n0", [], [0], source_digest()))
            second.poll(0.3)
            if (message := second.receive()) is not None:
                answers.append(message)
        second.close()

    over = threading.Event()
    thread = threading.Thread(target=join)
    thread.start()
    with pytest.raises(UserError, match="two nodes have the name n0"):
        waiting.wait()
    # The one that came second got the refusal.
    wait_for(lambda: bool(answers) or nodes.all[0].process.poll() == 2, "the refusal")
    assert all(isinstance(answer, Refused) for answer in answers)
    over.set()
    thread.join()
    waiting.socket.close()
