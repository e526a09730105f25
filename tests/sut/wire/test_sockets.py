import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
import zmq

from sut.clusters.registration import NodesSocket
from sut.wire.keys import ClusterKey, make_key, read_key
from sut.wire.messages import (
    Completion,
    FirstToken,
    Generate,
    Hello,
    Outputs,
    Request,
    Stop,
    ToCoordinator,
)
from sut.wire.sockets import (
    LARGEST_OF_REPLICAS,
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
    stranger = context.socket(zmq.DEALER)
    stranger.setsockopt(zmq.IDENTITY, b"replica-0")
    stranger.connect(coordinator.address)
    stranger.send(junk)
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
    def ready() -> list[int]:
        return [source for source, _ in pair[0]._poller.poll(0)]

    for _ in range(3):
        pair[0].wakeup.set()
        pair[0].wakeup.set()
        assert ready() == [pair[0].wakeup.fd]
        pair[0].poll(60)
        assert ready() == []


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


@pytest.mark.integration
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


NESTED = b"\x96\xa5phase" + b"\x91" * 5000 + b"\xc0"


def test_a_nested_message_is_its_senders_fault_alone(
    pair: tuple[CoordinatorSocket, ReplicaSocket],
) -> None:
    coordinator, replica = pair
    replica._socket.send(NESTED)
    replica.send(Hello(1, 42))
    identity, message = _receive(coordinator)
    assert identity == "replica-0"
    assert isinstance(message, ProtocolError)
    assert _receive(coordinator) == ("replica-0", Hello(1, 42))
    coordinator._socket.send_multipart([b"replica-0", NESTED])
    replica.poll(5)
    with pytest.raises(ProtocolError, match=r"."):
        replica.receive()


def _send_megabytes(stranger: socket.socket, count: int) -> None:
    for _ in range(count):
        stranger.sendall(bytes(1 << 20))


def _memory_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


@pytest.mark.integration
@pytest.mark.parametrize("kind", [CoordinatorSocket, NodesSocket])
def test_a_client_without_the_key_cannot_fill_the_memory(
    tmp_path: Path, kind: type[CoordinatorSocket] | type[NodesSocket]
) -> None:
    """A frame of 3 GB is announced, then sent until the connection is closed."""
    make_key(tmp_path / "key")
    address = f"ipc://{tmp_path}/socket"
    listening = kind(Endpoint(address=address, key=read_key(tmp_path / "key")))
    before = _memory_bytes()
    greeting = b"\xff" + 8 * b"\x00" + b"\x7f\x03\x00" + b"CURVE".ljust(52, b"\x00")
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(30)
        stranger.connect(str(tmp_path / "socket"))
        stranger.sendall(greeting)
        stranger.sendall(b"\x06" + (3 << 30).to_bytes(8, "big"))
        with pytest.raises(ConnectionError):
            _send_megabytes(stranger, 512)
    assert _memory_bytes() - before < 64 << 20
    listening.close()


@pytest.mark.integration
def test_many_clients_without_the_key_cannot_fill_the_memory(
    guarded: tuple[CoordinatorSocket, ClusterKey], tmp_path: Path
) -> None:
    """Each announces a frame as long as the largest message, and sends most of it."""
    before = _memory_bytes()
    greeting = b"\xff" + 8 * b"\x00" + b"\x7f\x03\x00" + b"CURVE".ljust(52, b"\x00")
    with contextlib.ExitStack() as strangers:
        for _ in range(60):
            stranger = strangers.enter_context(socket.socket(socket.AF_UNIX))
            stranger.settimeout(30)
            stranger.connect(str(tmp_path / "socket"))
            stranger.sendall(greeting)
            with contextlib.suppress(ConnectionError):
                stranger.sendall(b"\x06" + LARGEST_OF_REPLICAS.to_bytes(8, "big"))
                _send_megabytes(stranger, 4)
        assert _memory_bytes() - before < 64 << 20


@pytest.mark.integration
def test_a_client_that_proves_nothing_is_cut_off(
    guarded: tuple[CoordinatorSocket, ClusterKey], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        # Shorter than the 30 s of libzmq, with room for a busy host.
        stranger.settimeout(20)
        stranger.connect(str(tmp_path / "socket"))
        while stranger.recv(1000):
            pass


@pytest.mark.integration
def test_sending_to_an_end_that_refuses_does_not_wait(tmp_path: Path) -> None:
    """Another ZeroMQ service: libzmq gives the connection up and would wait."""
    make_key(tmp_path / "key")
    context = zmq.Context()
    other = context.socket(zmq.PUB)
    other.bind(f"ipc://{tmp_path}/socket")
    replica = ReplicaSocket(
        f"ipc://{tmp_path}/socket", "replica-0", read_key(tmp_path / "key")
    )
    deadline = time.monotonic() + 20
    while replica.send(Hello(1, 42)):
        replica.poll(0.01)
        assert time.monotonic() < deadline, "the connection was never given up"
    assert replica.lost
    assert replica.refused
    replica.connect_again()
    assert replica.send(Hello(1, 42))
    context.destroy(linger=0)
    replica.close()


def test_many_samples_travel_in_parts(
    pair: tuple[CoordinatorSocket, ReplicaSocket],
) -> None:
    coordinator, replica = pair
    replica.send(Hello(1, 42))
    _receive(coordinator)
    prompt = bytes(4 * 2540)
    requests = [Request(seq, 1, prompt) for seq in range(1000)]
    assert coordinator.send("replica-0", Generate(requests))
    taken: list[Request] = []
    messages = 0
    while len(taken) < len(requests):
        replica.poll(5)
        while (message := replica.receive()) is not None:
            assert isinstance(message, Generate)
            taken += message.requests
            messages += 1
    assert [request.seq for request in taken] == list(range(1000))
    assert messages == 10
    first = [FirstToken(seq, 1, b"1234") for seq in range(1500)]
    done = [
        Completion(seq, 1, bytes(512), "length", 0, 0, 0, 0, 0) for seq in range(1500)
    ]
    replica.send(Outputs(first, done, [], 7, 1500))
    kinds: list[str] = []
    while len(kinds) < 4:
        outputs = _receive(coordinator)[1]
        assert isinstance(outputs, Outputs)
        assert (outputs.waiting, outputs.received) == (7, 1500)
        kinds.append("first" if outputs.first else "done")
        assert len(outputs.first) + len(outputs.done) <= 1000
    assert kinds == ["first", "first", "done", "done"]


def test_a_message_of_several_frames_arrives_whole(
    guarded: tuple[CoordinatorSocket, ClusterKey],
) -> None:
    coordinator, key = guarded
    replica = ReplicaSocket(coordinator.address, "replica-0", key)
    answers = [Completion(1, 1, bytes(range(256)) * 4000, "length", 0, 0, 0, 0, 0)]
    replica.send(Outputs([], answers, [], 0, 1))
    assert _receive(coordinator) == ("replica-0", Outputs([], answers, [], 0, 1))
    replica.close()


def test_a_message_above_the_limit_is_its_senders_fault(
    pair: tuple[CoordinatorSocket, ReplicaSocket],
) -> None:
    coordinator, replica = pair
    replica._socket.send_multipart([bytes(1 << 16)] * (LARGEST_OF_REPLICAS >> 16))
    replica._socket.send_multipart(
        [bytes(1 << 16)] * (LARGEST_OF_REPLICAS >> 16) + [b"x"]
    )
    found = [_receive(coordinator)[1] for _ in range(2)]
    assert all(isinstance(message, ProtocolError) for message in found)
    limit = f"{LARGEST_OF_REPLICAS + 1} bytes, more than {LARGEST_OF_REPLICAS}"
    assert [str(message) == limit for message in found] == [False, True]


def test_the_largest_prompt_and_a_part_of_others_are_let_in(tmp_path: Path) -> None:
    coordinator = CoordinatorSocket(_endpoint(tmp_path))
    replica = ReplicaSocket(coordinator.address, "replica-0")
    replica.send(Hello(1, 42))
    _receive(coordinator)
    short, long = Request(0, 1, bytes(1000)), Request(1, 1, bytes(4_000_000))
    requests = [short] * 1048 + [long]
    assert coordinator.send("replica-0", Generate(requests))
    replica.poll(10)
    assert replica.receive() == Generate(requests)
    replica.close()
    coordinator.close()
