"""What nodes with the key may send, and who was silent; without processes or time."""

import re
from collections import deque
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from conf.clusters import ExternalConfig
from record.folder import RunFolder
from sut.clusters.external import ExternalCluster
from sut.clusters.local import LocalCluster
from sut.clusters.placement import Host
from sut.clusters.registration import Node, NodeRegistration, NodesSocket
from sut.node.agent import NodeAgent, NodeSocket
from sut.wire.node_messages import (
    NODE_PROTOCOL,
    Join,
    Left,
    Ping,
    Placement,
    Refused,
    Report,
    Start,
    ToCluster,
    ToNode,
    Welcome,
    join_problem,
)
from sut.wire.sockets import ProtocolError

SILENCE_S = 10.0
JOIN = Join(NODE_PROTOCOL, "n0", [], [0], "source")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeSocket:
    """The coordinator's end: takes what is sent, gives what a test put in."""

    closed = False

    def __init__(self) -> None:
        self.inbox: deque[tuple[str, ToCluster | ProtocolError]] = deque()
        self.sent: list[tuple[str, msgspec.Struct]] = []

    def receive(self) -> tuple[str, ToCluster | ProtocolError] | None:
        return self.inbox.popleft() if self.inbox else None

    def send(self, identity: str, message: msgspec.Struct) -> bool:
        self.sent.append((identity, message))
        return True

    def refusals(self) -> list[str]:
        return [m.reason for _, m in self.sent if isinstance(m, Refused)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def socket() -> FakeSocket:
    return FakeSocket()


@pytest.fixture
def cluster(tmp_path: Path, clock: Clock, socket: FakeSocket) -> ExternalCluster:
    """Two nodes with a replica each, both started."""
    nodes = [
        Node(identity=f"n{n}-a", host=Host(name=f"n{n}", gpus=[], cpus=[0]), heard=0.0)
        for n in (0, 1)
    ]
    cluster = ExternalCluster(
        cast(NodesSocket, socket),
        nodes,
        [Placement(replica=n, node=f"n{n}") for n in (0, 1)],
        RunFolder(tmp_path),
        {},
        SILENCE_S,
        clock,
    )
    for replica in (0, 1):
        cluster.start(replica, "tcp://host:5556", f"r{replica}")
    return cluster


def _tick(cluster: ExternalCluster, clock: Clock, seconds: float) -> dict[int, str]:
    """Let time pass in steps in which the second node alone reports."""
    socket = cast(FakeSocket, cluster._socket)
    ended: dict[int, str] = {}
    for _ in range(round(seconds / 0.5)):
        clock.now += 0.5
        socket.inbox.append(("n1-a", Report()))
        ended = cluster.exited()
    return ended


def test_a_mute_node_is_lost(cluster: ExternalCluster, clock: Clock) -> None:
    assert _tick(cluster, clock, SILENCE_S) == {}
    assert list(_tick(cluster, clock, 1.0)) == [0]


def test_a_coordinator_that_was_stopped_blames_nobody(
    cluster: ExternalCluster, clock: Clock
) -> None:
    cluster.exited()
    clock.now += 3600
    assert cluster.exited() == {}, "nothing was read yet, and nobody was mute"
    assert _tick(cluster, clock, SILENCE_S - 0.5) == {}
    assert list(_tick(cluster, clock, 1.5)) == [0], "mute since then"


def test_a_late_namesake_takes_nothing_from_a_node_that_works(
    cluster: ExternalCluster, clock: Clock, socket: FakeSocket
) -> None:
    for _ in range(20):
        clock.now += 0.5
        socket.inbox.append(("n0-a", Report()))
        socket.inbox.append(("n1-a", Report()))
        socket.inbox.append(("n0-b", JOIN))
        assert cluster.exited() == {}
    assert socket.refusals()
    assert set(socket.refusals()) == {
        "two nodes have the name n0: start one of them with another --name"
    }
    assert {identity for identity, m in socket.sent if isinstance(m, Refused)} == {
        "n0-b"
    }


def test_a_node_that_begins_again_is_lost_at_once_when_it_was_mute(
    cluster: ExternalCluster, clock: Clock, socket: FakeSocket
) -> None:
    assert _tick(cluster, clock, 6.0) == {}
    socket.inbox.append(("n0-b", JOIN))
    assert cluster.exited() == {0: "was on node n0, which has started again"}
    assert not socket.refusals()


def test_a_node_speaks_for_its_own_replicas_alone(
    cluster: ExternalCluster, socket: FakeSocket, tmp_path: Path
) -> None:
    cluster.kill(1)
    report = Report(
        {"r0": "ended\x1b[2J\n"}, ["r1"], {1: b"of another", 99: b"of none"}
    )
    socket.inbox.append(("n0-a", report))
    assert cluster.exited() == {0: "ended\\x1b[2J\\n"}
    assert not cluster.gone(1)
    assert RunFolder(tmp_path).replica_log(1).read_bytes() == b""
    assert not RunFolder(tmp_path).replica_log(99).exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cpus": []}, "offers no cores"),
        ({"cpus": [-1]}, "cores that no host has"),
        ({"cpus": [10**9]}, "cores that no host has"),
        ({"name": ""}, "1 to 200 bytes"),
        ({"name": "n" * 201}, "1 to 200 bytes"),
        ({"name": "\u00e4" * 101}, "1 to 200 bytes"),
        ({"name": "n0\x1b]0;owned\x07\n"}, r"n0\\x1b\]0;owned\\x07\\n"),
        ({"gpus": ["0\n1"]}, "GPUs"),
    ],
)
def test_offers_are_checked(changes: dict[str, Any], expected: str) -> None:
    join = msgspec.structs.replace(JOIN, **changes)
    problem = join_problem(join)
    assert problem is not None
    assert problem.isprintable()
    said: list[str] = []
    socket = FakeSocket()
    registration = NodeRegistration(
        socket=cast(NodesSocket, socket),
        config=ExternalConfig(name="external", nodes=1, key="key"),
        source="source",
        notify=said.append,
    )
    for _ in range(2):
        registration._join("identity", join)
    assert said == [f"refused: {problem}"]
    assert re.search(expected, problem)
    assert socket.refusals() == [problem] * 2


def test_plain_offers_are_taken() -> None:
    assert join_problem(JOIN) is None
    assert join_problem(msgspec.structs.replace(JOIN, name="n\u00e4 1")) is None


class FakeNodeSocket:
    """A node's end; time passes while it polls."""

    lost = False

    def __init__(self, clock: Clock, steps: list[tuple[float, ToNode | None]]) -> None:
        self._clock = clock
        self._steps = steps
        self.inbox: deque[ToNode] = deque()
        self.sent: list[msgspec.Struct] = []

    def poll(self, timeout_s: float) -> None:
        if not self._steps:
            self.lost = True
            return
        passed_s, message = self._steps.pop(0)
        self._clock.now += passed_s
        if message is not None:
            self.inbox.append(message)

    def receive(self) -> ToNode | None:
        return self.inbox.popleft() if self.inbox else None

    def send(self, message: msgspec.Struct) -> bool:
        self.sent.append(message)
        return True


def _session(
    folder: Path, clock: Clock, *steps: tuple[float, ToNode | None]
) -> tuple[NodeAgent, FakeNodeSocket]:
    socket = FakeNodeSocket(clock, list(steps))
    agent = NodeAgent(
        socket=cast(NodeSocket, socket),
        welcome=Welcome([Placement(replica=0, node="n0")], {"A": "nul\0"}, SILENCE_S),
        coordinator="127.0.0.1",
        key=folder / "key",
        scratch=folder,
        cache=folder / "cache",
        clock=clock,
    )
    return agent, socket


def test_a_node_that_was_stopped_does_not_blame_its_coordinator(
    tmp_path: Path, clock: Clock
) -> None:
    agent, _ = _session(
        tmp_path, clock, (0.1, Ping()), (3600, None), (0.1, Ping()), (0.1, None)
    )
    assert agent.run() == "the connection to the coordinator is lost"


def test_a_mute_coordinator_is_given_up(tmp_path: Path, clock: Clock) -> None:
    steps = [(0.5, None)] * 30
    agent, socket = _session(tmp_path, clock, *steps)
    assert agent.run() == "no message from the coordinator for 10 s"
    assert isinstance(socket.sent[-1], Left)


def test_a_node_says_goodbye_whatever_its_cluster_does(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("write to closed file")

    monkeypatch.setattr(LocalCluster, "close", fail)
    agent, socket = _session(tmp_path, clock)
    with pytest.raises(ValueError, match="closed file"):
        agent.run()
    assert isinstance(socket.sent[-1], Left)


def test_orders_that_make_no_sense_are_answered(tmp_path: Path, clock: Clock) -> None:
    agent, socket = _session(tmp_path, clock, (0.1, Start(7, "r7", 5556)))
    agent.run()
    reports = [m for m in socket.sent if isinstance(m, Report) and m.exited]
    assert [report.exited for report in reports] == [
        {"r7": "cannot be started: replica 7 has no place here"}
    ]
