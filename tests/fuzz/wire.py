"""Messages between coordinator, replicas and nodes."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from unittest import mock

import msgspec
import numpy as np

from base.decode import DecodeError, decode_with
from base.errors import UserError
from conf.clusters import ExternalConfig
from record.folder import RunFolder
from record.steps import STEP
from record.structs import ReplicaRecord
from record.writer import RecordWriter
from sut.clock import RunClock
from sut.clusters.external import ExternalCluster
from sut.clusters.placement import Host
from sut.clusters.registration import Node, NodeRegistration, NodesSocket
from sut.coordinator.dispatcher import UnexpectedAnswer
from sut.coordinator.recorder import RunRecorder
from sut.coordinator.replica import Replica
from sut.wire.messages import (
    ClockReading,
    Completion,
    DeviceReading,
    Failed,
    Fatal,
    FirstToken,
    Generate,
    Heartbeat,
    Hello,
    HostReading,
    Outputs,
    Phase,
    Ready,
    ReplicaSpec,
    Request,
    Steps,
    Stop,
    ToCoordinator,
    ToReplica,
    WarmupSpec,
)
from sut.wire.node_messages import (
    NODE_PROTOCOL,
    Close,
    Join,
    Kill,
    Left,
    Ping,
    Placement,
    Refused,
    ReplicaReady,
    Report,
    Start,
    ToCluster,
    ToNode,
    Welcome,
)
from sut.wire.sockets import ProtocolError
from tests.fuzz.damage import damaged_message
from tests.fuzz.target import Target
from tests.run_folder import replica_record
from tests.sut.engines.contract import spec

OFFER = Join(NODE_PROTOCOL, "n0", ["0", "GPU-1"], [0, 1], "source")


def wire_targets(folder: Path) -> list[Target]:
    plain = replica_record(0)
    to_coordinator: list[msgspec.Struct] = [
        Hello(1, 42),
        Phase("loading"),
        Ready(plain, 8192),
        Outputs(
            [FirstToken(1, 1, b"1234")],
            [Completion(2, 1, b"12345678", "length", 0, 1, 2, 3, 4)],
            [Failed(3, 1, "too long")],
            1,
            3,
        ),
        Heartbeat(
            0.0, 1, 2, 0.5, [DeviceReading("H100", 1, 2, 3.0)], HostReading(1, 2, 3, 4)
        ),
        Steps(np.zeros(3, STEP).tobytes(), 0, 1000, False),
        Fatal("crash", "it broke"),
    ]
    to_replica: list[msgspec.Struct] = [
        ReplicaSpec(spec(), WarmupSpec(100, 200, 4, 1000)),
        Generate([Request(1, 1, b"12345678")]),
        ClockReading(1, 2),
        Stop(),
    ]
    to_node: list[msgspec.Struct] = [
        Welcome([Placement(replica=0, node="n0", gpus=["0"])], {"A": "b"}, 10.0),
        Refused("no"),
        Start(0, "r0", 5556),
        ReplicaReady(0),
        Kill(0),
        Ping(),
        Close(1.0),
    ]
    to_cluster: list[msgspec.Struct] = [
        OFFER,
        Report({"r0": "ended"}, ["r1"], {0: b"text"}),
        Left(),
    ]
    kinds: list[tuple[str, Any, list[msgspec.Struct]]] = [
        ("messages to replicas", ToReplica, to_replica),
        ("messages to nodes", ToNode, to_node),
    ]
    return [
        Target(
            name="messages of replicas",
            inputs=damaged_message(to_coordinator),
            run=_recorded,
            errors=(DecodeError,),
        ),
        *(
            Target(
                name=name,
                inputs=damaged_message(originals),
                run=_decoder(kind),
                errors=(DecodeError,),
            )
            for name, kind, originals in kinds
        ),
        Target(
            name="messages of nodes while they join",
            inputs=damaged_message(to_cluster),
            run=_registration,
            errors=(UserError,),
        ),
        Target(
            name="messages of nodes in a run",
            inputs=damaged_message(to_cluster),
            run=_external(folder),
            errors=(),
        ),
    ]


def _recorded(data: bytes) -> None:
    """What a replica says of itself is recorded: it must be possible to read it."""
    message = decode_with(msgspec.msgpack.Decoder(ToCoordinator), data)
    if isinstance(message, Ready):
        msgspec.json.decode(msgspec.json.encode(message.record), type=ReplicaRecord)
    if isinstance(message, Steps):
        replica = Replica(0, "n0", record=replica_record(0))
        recorder = RunRecorder(cast(RecordWriter, _Nowhere()), RunClock())
        with contextlib.suppress(UnexpectedAnswer):
            recorder.steps(replica, message)
            recorder.steps(replica, message)
        msgspec.json.decode(msgspec.json.encode(replica.record), type=ReplicaRecord)


class _Nowhere:
    """Stands for a writer: takes whole records of steps."""

    def steps(self, data: bytes) -> None:
        assert (np.frombuffer(data, STEP)["start_ns"] >= 0).all()


def _decoder(kind: Any) -> Callable[[bytes], object]:
    decoder = msgspec.msgpack.Decoder(kind)
    return lambda data: decode_with(decoder, data)


class _Inbox:
    """The coordinator's end of the socket for nodes, with one message that came."""

    closed = False

    def __init__(self, data: bytes, identity: str) -> None:
        self._message: tuple[str, ToCluster | ProtocolError] | None
        try:
            decoder = msgspec.msgpack.Decoder[ToCluster](ToCluster)
            self._message = (identity, decode_with(decoder, data))
        except DecodeError as error:
            self._message = (identity, ProtocolError(str(error)))

    def receive(self) -> tuple[str, ToCluster | ProtocolError] | None:
        message, self._message = self._message, None
        return message

    def send(self, _identity: str, message: msgspec.Struct) -> bool:
        msgspec.msgpack.encode(message)
        return True


def _registration(data: bytes) -> None:
    said: list[str] = []
    registration = NodeRegistration(
        socket=cast(NodesSocket, _Inbox(data, "n0\x1b-1")),
        config=ExternalConfig(name="external", nodes=1, key="key"),
        source="source",
        notify=said.append,
    )
    with mock.patch("sut.clusters.registration._FLUSH_S", 0):
        registration._take_in()
    assert all(line.isprintable() for line in said), said


def _external(folder: Path) -> Callable[[bytes], object]:
    def run(data: bytes) -> None:
        node = Node(identity="n0-1", host=Host(name="n0", gpus=[], cpus=[0]), heard=0.0)
        inbox = _Inbox(data, "n0-1")
        cluster = ExternalCluster(
            cast(NodesSocket, inbox),
            [node],
            [Placement(replica=0, node="n0")],
            RunFolder(folder),
            {},
            10.0,
        )
        cluster.start(0, "tcp://host:5556", "r0")
        for ending in cluster.exited().values():
            assert ending.isprintable()

    return run
