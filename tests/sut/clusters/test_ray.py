"""The Ray cluster without Ray: a launcher of the test starts real node agents."""

import platform
import signal
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from base.errors import Aborted, UserError
from conf.clusters import RayConfig
from record.folder import RunFolder
from sut.clusters.agents import AgentRegistration, Slots, connect, serve_at
from sut.clusters.base import Cluster
from sut.clusters.launcher import Launcher
from sut.clusters.placement import Host
from sut.clusters.ray import RayCluster
from sut.clusters.registration import NodesSocket
from sut.wire.keys import ClusterKey, read_key
from sut.wire.launcher_messages import (
    Connect,
    Connected,
    Ended,
    Failed,
    FromLauncher,
    Launch,
    Note,
    Placed,
    ToLauncher,
)
from sut.wire.sockets import CoordinatorSocket, Endpoint
from tests.external_nodes import NodeProcess, Nodes
from tests.sut.clusters.contract import ClusterContract, running, wait_for

SILENCE_S = 8.0


class TestLauncher:
    """Starts an agent of its own for each replica, where Ray's launcher asks Ray."""

    __test__ = False

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.answers: deque[FromLauncher] = deque()
        self.agents: dict[str, NodeProcess] = {}
        self.closed = False
        self.lost: str | None = None
        self.refuses = ""
        """Why no further agent is started."""

    def send(self, message: ToLauncher) -> None:
        if not isinstance(message, Launch):
            return
        for replica, name in message.agents.items():
            if self.refuses:
                ended = Ended(agent=name, cause=self.refuses, misconfigured=False)
                self.answers.append(ended)
                continue
            self.agents[name] = agent = NodeProcess(
                self.nodes.port, self.nodes.key, name, "--once"
            )
            self.nodes.all.append(agent)
            self.answers.append(
                Placed(
                    agent=name,
                    node=f"n{replica}-{name[-1]}",
                    host=platform.node(),
                    slots=2,
                    shared=False,
                )
            )

    def receive(self) -> FromLauncher | None:
        return self.answers.popleft() if self.answers else None

    def close(self) -> None:
        self.closed = True


CONNECTED = Connected(
    ray="2",
    address="127.0.0.1:1",
    host="127.0.0.1",
    started=False,
    nodes=["n0", "n1"],
    replicas=2,
    gpus=0,
    cpus=1,
)


def config(timeout_s: float = 40) -> RayConfig:
    return RayConfig(name="ray", replicas=2, join_timeout_s=timeout_s)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with Nodes(tmp_path, count=0) as nodes:
        yield nodes


@pytest.fixture
def launcher(nodes: Nodes) -> TestLauncher:
    return TestLauncher(nodes)


@pytest.fixture
def key(nodes: Nodes) -> ClusterKey:
    return read_key(nodes.key)


def registration(
    launcher: TestLauncher, key: ClusterKey, timeout_s: float = 40
) -> AgentRegistration:
    address = f"tcp://127.0.0.1:{launcher.nodes.port}"
    wanted = config(timeout_s)
    return AgentRegistration(
        config=wanted,
        launcher=cast(Launcher, launcher),
        socket=NodesSocket(Endpoint(address=address, key=key)),
        connected=CONNECTED,
        serve=serve_at(address, "127.0.0.1", key, wanted),
        notify=lambda _: None,
    )


@pytest.mark.integration
class TestRay(ClusterContract):
    @pytest.fixture
    def cluster(
        self, launcher: TestLauncher, key: ClusterKey, tmp_path: Path
    ) -> Iterator[Cluster]:
        waiting = registration(launcher, key)
        placements = waiting.wait()
        cluster = RayCluster(waiting, placements, RunFolder(tmp_path), {}, SILENCE_S)
        yield cluster
        cluster.close(0)
        assert launcher.closed

    @pytest.fixture
    def socket(self, nodes: Nodes, key: ClusterKey) -> Iterator[CoordinatorSocket]:
        address = f"tcp://127.0.0.1:{nodes.port + 1}"
        socket = CoordinatorSocket(Endpoint(address=address, key=key))
        yield socket
        socket.close()

    def test_a_lost_agent_is_replaced(
        self, cluster: Cluster, socket: CoordinatorSocket, launcher: TestLauncher
    ) -> None:
        pids = [self.start(cluster, socket, replica) for replica in (0, 1)]
        launcher.agents["replica-1-1"].signal(signal.SIGKILL)
        wait_for(lambda: not running(pids[1]), "the end")
        launcher.answers.append(
            Ended(agent="replica-1-1", cause="its node died", misconfigured=False)
        )
        wait_for(lambda: bool(cluster.exited()), "its being noticed")
        assert "is lost to Ray: its node died" in cluster.exited()[1]
        cluster.kill(1)
        assert cluster.gone(1)
        cluster.start(1, socket.address, "again")
        assert "replica-1-2" in launcher.agents
        wait_for(lambda: cluster.exited() == {} and _hello(socket), "the new one")
        (place,) = [p for p in cluster.placements if p.replica == 1]
        assert place.node == "n1-2"
        assert running(pids[0])

    def test_a_replica_without_a_new_agent_has_ended(
        self, cluster: Cluster, socket: CoordinatorSocket, launcher: TestLauncher
    ) -> None:
        self.start(cluster, socket, 1)
        launcher.agents["replica-1-1"].signal(signal.SIGKILL)
        wait_for(lambda: bool(cluster.exited()), "its being noticed")
        cluster.kill(1)
        launcher.refuses = "no node has room"
        cluster.start(1, socket.address, "again")
        wait_for(lambda: bool(cluster.exited()), "the answer")
        assert cluster.exited() == {1: "got no node agent: no node has room"}
        cluster.kill(1)
        assert cluster.gone(1)

    def test_a_lost_launcher_ends_every_replica(
        self, cluster: Cluster, socket: CoordinatorSocket, launcher: TestLauncher
    ) -> None:
        pids = [self.start(cluster, socket, replica) for replica in (0, 1)]
        launcher.lost = "has ended"
        assert all("lost the launcher" in text for text in cluster.exited().values())
        assert set(cluster.exited()) == {0, 1}
        cluster.kill(0)
        with pytest.raises(OSError, match="the launcher has ended"):
            cluster.start(0, socket.address, "again")
        wait_for(lambda: not any(running(pid) for pid in pids), "the end")


def _hello(socket: CoordinatorSocket) -> bool:
    socket.poll(0.1)
    received = socket.receive()
    return received is not None and received[0] == "again"


@pytest.mark.parametrize("cause", ["no room", "another release"])
def test_an_agent_that_ray_cannot_start_ends_the_wait(
    launcher: TestLauncher, key: ClusterKey, cause: str
) -> None:
    launcher.refuses = cause
    waiting = registration(launcher, key)
    with pytest.raises(Aborted, match=cause):
        waiting.wait()
    waiting.socket.close()


def test_agents_that_do_not_come_are_reported(
    launcher: TestLauncher, key: ClusterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "send", lambda _: None)
    waiting = registration(launcher, key, timeout_s=0.3)
    with pytest.raises(UserError, match="0 of 2 node agents have joined within"):
        waiting.wait()
    waiting.socket.close()


def test_a_launcher_that_fails_ends_the_wait(
    launcher: TestLauncher, key: ClusterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "send", lambda _: None)
    launcher.answers.append(Failed(cause="Ray is gone", misconfigured=False))
    waiting = registration(launcher, key)
    with pytest.raises(Aborted, match="Ray is gone"):
        waiting.wait()
    waiting.socket.close()


def test_connecting_passes_the_options_on_and_reports_notes(
    launcher: TestLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[ToLauncher] = []
    monkeypatch.setattr(launcher, "send", sent.append)
    launcher.answers += [Note("starting"), CONNECTED]
    said: list[str] = []
    found = connect(config(), cast(Launcher, launcher), said.append)
    assert found == CONNECTED
    assert "starting" in said
    assert "2 replica(s) of 0 GPU and 1 CPU on 2 node(s)" in said[-1]
    (message,) = sent
    assert isinstance(message, Connect)
    assert (message.replicas, message.spread) == (2, False)


def test_cores_are_shared_by_the_replicas_that_a_host_has_room_for() -> None:
    slots = Slots(gpus=0)
    host = Host(name="h", gpus=[], cpus=[0, 1, 2, 3])
    placed = Placed(agent="a", node="n", host="h", slots=2, shared=False)
    assert slots.place(0, placed, host).cpus == [0, 1]
    assert slots.place(1, placed, host).cpus == [2, 3]
    assert slots.place(0, placed, host).cpus == [0, 1], "it has left its place"
    shared = Placed(agent="a", node="n", host="h", slots=2, shared=True)
    assert slots.place(2, shared, host).cpus == [], "which ones are free is not known"


def test_a_replica_on_gpus_has_the_cores_of_its_gpus() -> None:
    slots = Slots(gpus=1)
    placed = Placed(agent="a", node="n", host="h", slots=4, shared=True)
    host = Host(name="h", gpus=["2"], cpus=list(range(8)))
    assert slots.place(0, placed, host).cpus == [4, 5]
    near = Host(name="h", gpus=["2"], cpus=list(range(8)), near={"2": [6, 7]})
    assert slots.place(1, placed, near).cpus == [6, 7]


def test_agents_get_an_address_that_they_can_reach(key: ClusterKey) -> None:
    assert (
        serve_at("tcp://0.0.0.0:5", "10.0.0.1", key, config()).address == "10.0.0.1:5"
    )
    assert serve_at("tcp://10.0.0.2:5", "h", key, config()).address == "10.0.0.2:5"
