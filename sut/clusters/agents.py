"""Has Ray start the node agents of a run, and waits until they have joined."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from base.errors import Aborted, UserError
from conf.clusters import NodeOrder, RayConfig
from record.source import source_digest
from sut.clusters.launcher import Launcher, as_error
from sut.clusters.placement import Host, share_cores
from sut.clusters.registration import Node, NodesSocket, offered
from sut.wire.keys import ClusterKey
from sut.wire.launcher_messages import (
    Connect,
    Connected,
    Ended,
    Failed,
    Launch,
    Note,
    Placed,
    Serve,
)
from sut.wire.node_messages import NODE_PROTOCOL, Join, Placement, Refused, join_problem

_POLL_S = 0.1
_CONNECT_S = 180.0
"""Longest that Ray may take to connect or to start."""
_REACH_S = 60.0
"""Longest that an agent tries to reach the coordinator."""
_REPORT_S = 10.0
_FLUSH_S = 0.3
_SEE_LOG = "see ray.log in the run folder"


def connect(
    config: RayConfig, launcher: Launcher, notify: Callable[[str], None]
) -> Connected:
    """Have the launcher join or start the Ray cluster.

    Raises:
        UserError: there is no such cluster, or it does not fit.
        Aborted: Ray does not answer.
    """
    launcher.send(
        Connect(
            address=config.address,
            replicas=config.replicas,
            gpus=config.gpus_per_replica,
            cpus=config.cpus_per_replica,
            spread=config.order is NodeOrder.spread,
            labels=config.labels,
        )
    )
    where = config.address or "auto"
    notify(f"connecting to Ray (cluster.address={where})")
    deadline = time.monotonic() + _CONNECT_S
    while time.monotonic() < deadline:
        match launcher.receive():
            case Connected() as found:
                how = "started on this host" if found.started else f"at {found.address}"
                notify(
                    f"Ray {found.ray} {how}: {found.replicas} replica(s) of"
                    f" {found.gpus} GPU and {found.cpus} CPU on"
                    f" {len(found.nodes)} node(s)"
                )
                return found
            case Failed() as failure:
                raise as_error(failure, "")
            case Note(text):
                notify(text)
        if launcher.lost is not None:
            raise Aborted(
                f"the launcher {launcher.lost}; see ray.log in the run folder"
            )
        time.sleep(_POLL_S)
    raise UserError(
        f"cluster.address={where}: Ray has not answered for {_CONNECT_S:g} s; check the"
        " address, and ray status on this host"
    )


def agent_name(replica: int, count: int) -> str:
    """Return the name of the agent that is started for a replica.

    Args:
        replica: its number.
        count: how many agents it has had, with this one.
    """
    return f"replica-{replica}-{count}"


@dataclass(slots=True, kw_only=True)
class Slots:
    """Shares the cores of hosts out among the replicas of a run.

    A replica on GPUs gets the share of its host's cores that belongs to its GPUs,
    whatever else runs there. On CPUs the replicas that a host has room for share its
    cores, unless Ray had given some of them away before: which ones is not known.
    """

    gpus: int
    """Of each replica."""
    _taken: dict[int, tuple[str, int]] = field(default_factory=dict, init=False)
    """Host and share of each replica, by its number."""

    def place(self, replica: int, placed: Placed, host: Host) -> Placement:
        """Return where a replica runs, instead of where it ran before.

        Args:
            replica: its number.
            placed: where Ray has put its agent.
            host: what the agent offers.
        """
        self._taken.pop(replica, None)
        taken = {slot for name, slot in self._taken.values() if name == placed.host}
        slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
        if host.gpus and all(gpu.isdecimal() for gpu in host.gpus):
            slot = int(host.gpus[0]) // self.gpus
        self._taken[replica] = placed.host, slot
        cpus = share_cores(host.cpus, slot, max(placed.slots, slot + 1))
        if host.near:
            cpus = [cpu for gpu in host.gpus for cpu in host.near[gpu]]
        elif placed.shared and not host.gpus:
            cpus = []
        return Placement(
            replica=replica,
            node=placed.node,
            gpus=host.gpus,
            cpus=cpus,
        )


@dataclass(slots=True, kw_only=True)
class AgentRegistration:
    """Has agents started for all replicas, and waits until they have joined."""

    config: RayConfig
    launcher: Launcher
    socket: NodesSocket
    connected: Connected
    serve: Serve
    notify: Callable[[str], None]
    placed: dict[str, Placed] = field(default_factory=dict, init=False)
    """By agent."""
    nodes: dict[str, Node] = field(default_factory=dict, init=False)
    """By agent."""
    slots: Slots = field(init=False)

    def __post_init__(self) -> None:
        """Share out no cores yet."""
        self.slots = Slots(gpus=self.connected.gpus)

    def wait(self) -> list[Placement]:
        """Return the placement of each replica once its agent has joined.

        Raises:
            UserError: not all joined, or one cannot take part.
            Aborted: Ray or the launcher failed.
        """
        try:
            return self._wait()
        finally:
            self.socket.stop_watching()

    def _wait(self) -> list[Placement]:
        count = self.connected.replicas
        began = reported = time.monotonic()
        names = {replica: agent_name(replica, 1) for replica in range(count)}
        self.launcher.send(self.serve)
        self.launcher.send(Launch(names))
        while len(self.nodes) < count:
            now = time.monotonic()
            if now - began > self.config.join_timeout_s:
                raise UserError(
                    f"{len(self.nodes)} of {count} node agents have joined within"
                    f" cluster.join_timeout_s={self.config.join_timeout_s:g}"
                    f" ({len(self.placed)} of them had resources): free the cluster"
                    " (ray status), lower cluster.replicas, or check that nodes reach"
                    f" {self.serve.address} (cluster.listen)"
                )
            if now - reported > _REPORT_S:
                reported = now
                self.notify(
                    f"[{now - began:5.0f} s] {len(self.placed)} of {count} agents have"
                    f" resources, {len(self.nodes)} have joined"
                )
            self.socket.poll(_POLL_S)
            # libzmq blocks while its events are not read.
            self.socket.wrong_key()
            self._hear_launcher(names)
            while (received := self.socket.receive()) is not None:
                identity, message = received
                if isinstance(message, Join) and message.name in names.values():
                    self._join(identity, message)
        return [
            self.slots.place(replica, self.placed[name], self.nodes[name].host)
            for replica, name in names.items()
        ]

    def _hear_launcher(self, names: Mapping[int, str]) -> None:
        while (message := self.launcher.receive()) is not None:
            match message:
                case Note(text):
                    self.notify(text)
                case Placed():
                    self.placed[message.agent] = message
                case Ended() if message.agent in names.values():
                    placed = self.placed.get(message.agent)
                    where = f" on {placed.node}" if placed else ""
                    raise as_error(message, f"the node agent{where}")
                case Failed():
                    raise as_error(message, "")
        if self.launcher.lost is not None:
            raise Aborted(f"the launcher {self.launcher.lost}; {_SEE_LOG}")

    def _join(self, identity: str, join: Join) -> None:
        placed = self.placed.get(join.name)
        gpus = self.connected.gpus
        problem = join_problem(join) or agent_problem(join, placed, gpus)
        if problem is not None:
            self.socket.send(identity, Refused(problem))
            # What raises closes the socket, and what has not left by then is dropped.
            time.sleep(_FLUSH_S)
            raise UserError(problem)
        if placed is not None and join.name not in self.nodes:
            host = offered(join)
            heard = time.monotonic()
            self.nodes[join.name] = Node(identity=identity, host=host, heard=heard)


def agent_problem(join: Join, placed: Placed | None, gpus: int) -> str | None:
    """Return why an agent that Ray has started cannot take part, or None."""
    name = placed.node if placed is not None else join.name
    if join.protocol != NODE_PROTOCOL or join.source != source_digest():
        return (
            f"node {name} has other code of this package than the coordinator: install"
            " the same on both"
        )
    if len(join.gpus) != gpus:
        return (
            f"node {name}: Ray gave a replica {gpus} GPU, of which the driver knows"
            f" {len(join.gpus)}; check ray start --num-gpus and nvidia-smi there"
        )
    return None


def serve_at(listening: str, host: str, key: ClusterKey, config: RayConfig) -> Serve:
    """Return how agents reach the coordinator.

    Args:
        listening: where it listens for them, in ZeroMQ's form.
        host: address by which Ray's nodes reach this host.
        key: the run's.
        config: of the cluster.
    """
    at, _, port = listening.removeprefix("tcp://").rpartition(":")
    # Listening everywhere is no address to connect to.
    at = host if at in ("0.0.0.0", "[::]", "*") else at  # noqa: S104
    return Serve(
        address=f"{at}:{port}",
        key=msgspec.json.encode(key).decode(),
        wait_s=min(config.join_timeout_s, _REACH_S),
    )
