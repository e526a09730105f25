import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from sut.keys import ClusterKey, make_key, read_key
from sut.messages import Generate, Hello, Outputs, Request, Stop, ToCoordinator
from sut.transport import (
    CoordinatorSocket,
    Endpoint,
    ProtocolError,
    ReplicaSocket,
)


def _endpoint(folder: Path) -> Endpoint:
    return Endpoint(address=f"ipc://{folder}/socket")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[CoordinatorSocket, ReplicaSocket]]:
    coordinator = CoordinatorSocket(_endpoint(tmp_path))
    replica = ReplicaSocket(coordinator.address, "replica-0")
    yield coordinator, replica
    replica.close()
    coordinator.close()


def _receive(
    coordinator: CoordinatorSocket,
) -> tuple[str, ToCoordinator | ProtocolError]:
    for _ in range(50):
        coordinator.poll(0.1)
        if (received := coordinator.receive()) is not None:
            return received
    raise AssertionError("nothing came")


def test_messages_arrive_as_they_were(
    pair: tuple[CoordinatorSocket, ReplicaSocket],
) -> None:
    coordinator, replica = pair
    replica.send(Hello(1, 42))
    assert _receive(coordinator) == ("replica-0", Hello(1, 42))
    message = Generate([Request(5, 1, b"\x01\x00\x00\x00")])
    assert coordinator.send("replica-0", message)
    replica.poll(2)
    assert replica.receive() == message
    assert replica.receive() is None


def test_sending_to_nobody_is_noticed(
    pair: tuple[CoordinatorSocket, ReplicaSocket],
) -> None:
    assert not pair[0].send("replica-9", Stop())


def test_wakeup_ends_a_poll(pair: tuple[CoordinatorSocket, ReplicaSocket]) -> None:
    pair[0].wakeup.set()
    pair[0].poll(60)
    assert pair[0].receive() is None


@pytest.mark.parametrize("junk", [b"", b"\x00", b"junk", b"\x93\xa7outputs\x01\x02"])
def test_malformed_bytes_are_told_from_messages(tmp_path: Path, junk: bytes) -> None:
    coordinator = CoordinatorSocket(_endpoint(tmp_path))
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.IDENTITY, b"replica-0")
    socket.connect(coordinator.address)
    socket.send(junk)
    identity, message = _receive(coordinator)
    assert identity == "replica-0"
    assert isinstance(message, ProtocolError)
    context.destroy(linger=0)
    coordinator.close()


def test_empty_outputs_survive(pair: tuple[CoordinatorSocket, ReplicaSocket]) -> None:
    coordinator, replica = pair
    replica.send(Outputs([], [], [], 0, 0))
    assert _receive(coordinator)[1] == Outputs([], [], [], 0, 0)


def test_a_wakeup_before_the_poll_is_not_lost_and_not_kept(
    pair: tuple[CoordinatorSocket, ReplicaSocket],
) -> None:
    for _ in range(3):
        pair[0].wakeup.set()
        pair[0].wakeup.set()
        begun = time.monotonic()
        pair[0].poll(60)
        assert time.monotonic() - begun < 30
    begun = time.monotonic()
    pair[0].poll(0.05)
    assert time.monotonic() - begun >= 0.04


def test_a_folder_too_deep_for_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    with pytest.raises(OSError, match="File name too long"):
        CoordinatorSocket(_endpoint(deep))


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[CoordinatorSocket, ClusterKey]]:
    make_key(tmp_path / "key")
    key = read_key(tmp_path / "key")
    address = f"ipc://{tmp_path}/socket"
    coordinator = CoordinatorSocket(Endpoint(address=address, key=key))
    yield coordinator, key
    coordinator.close()


def test_holders_of_the_key_are_let_in(
    guarded: tuple[CoordinatorSocket, ClusterKey],
) -> None:
    coordinator, key = guarded
    replica = ReplicaSocket(coordinator.address, "replica-0", key)
    replica.send(Hello(1, 42))
    assert _receive(coordinator) == ("replica-0", Hello(1, 42))
    assert coordinator.send("replica-0", Stop())
    replica.poll(2)
    assert replica.receive() == Stop()
    assert not replica.refused
    replica.close()


@pytest.mark.parametrize("wrong", ["client", "server", "none"])
def test_others_are_kept_out(
    guarded: tuple[CoordinatorSocket, ClusterKey], wrong: str, tmp_path: Path
) -> None:
    coordinator, key = guarded
    make_key(tmp_path / "other")
    other = read_key(tmp_path / "other")
    if wrong == "client":
        other = msgspec.structs.replace(
            key, client_public=other.client_public, client_secret=other.client_secret
        )
    replica = ReplicaSocket(
        coordinator.address, "replica-0", None if wrong == "none" else other
    )
    replica.send(Hello(1, 42))
    deadline = time.monotonic() + 5
    while not (replica.refused or replica.lost) and time.monotonic() < deadline:
        replica.poll(0.1)
    assert replica.refused or replica.lost
    coordinator.poll(0.2)
    assert coordinator.receive() is None
    replica.close()


def test_a_lost_connection_is_noticed(tmp_path: Path) -> None:
    coordinator = CoordinatorSocket(_endpoint(tmp_path))
    replica = ReplicaSocket(coordinator.address, "replica-0")
    replica.send(Hello(1, 42))
    _receive(coordinator)
    assert not replica.lost
    coordinator.close()
    replica.poll(5)
    assert replica.lost
    replica.close()
