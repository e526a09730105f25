"""Replicas on the nodes of a Ray cluster, each with a node agent that Ray has started.

Ray places and starts the agents (`sut.launcher`). From then on they are nodes like
those of `cluster=external`: they connect to the coordinator, which has them start and
kill replicas, and samples never pass through Ray. An agent that is lost is replaced,
maybe on another node, when its replica is started again.
"""

from record.folder import RunFolder
from sut.clusters.agents import (
    AgentRegistration,
    agent_name,
    agent_problem,
)
from sut.clusters.external import ExternalCluster
from sut.clusters.registration import Node, offered
from sut.wire.launcher_messages import Ended, Launch, Placed
from sut.wire.node_messages import (
    Close,
    Join,
    Placement,
    Refused,
    ToCluster,
    join_problem,
)
from sut.wire.sockets import ProtocolError


class RayCluster(ExternalCluster):
    """Implements `sut.clusters.base.Cluster`; belongs to one thread at a time."""

    def __init__(
        self,
        registration: AgentRegistration,
        placements: list[Placement],
        folder: RunFolder,
        environment: dict[str, str],
        silence_s: float,
    ) -> None:
        """Welcome the agents; nothing is started.

        Args:
            registration: by which they joined; its launcher and socket are closed with
                this cluster.
            placements: what it returned.
            folder: run folder, which takes the output of each replica.
            environment: variables set for every replica, over the node's own.
            silence_s: seconds without a message after which an agent is lost, and after
                which an agent gives the run up.
        """
        self._launcher = registration.launcher
        self._connected = registration.connected
        self._placed = registration.placed
        self._slots = registration.slots
        self._counts = {place.replica: 1 for place in placements}
        """Agents that each replica has had."""
        self._joined = {
            place.replica: registration.nodes[agent_name(place.replica, 1)]
            for place in placements
        }
        """The last agent that has joined for each replica."""
        self._waiting: dict[int, tuple[str, str]] = {}
        """Address and identity of replicas that wait for a new agent."""
        self._problems: dict[int, str] = {}
        """Why a replica gets no new agent."""
        super().__init__(
            registration.socket,
            list(registration.nodes.values()),
            placements,
            folder,
            environment,
            silence_s,
        )

    def start(self, replica: int, address: str, identity: str) -> None:
        """Have the replica's agent start it; where that is lost, a new one is started.

        Raises:
            OSError: there is no launcher any more.
        """
        self._problems.pop(replica, None)
        if replica not in self._waiting and self._node_of(replica).lost is None:
            super().start(replica, address, identity)
            return
        if self._launcher.lost is not None:
            raise OSError(f"the launcher {self._launcher.lost}")
        self._running[replica] = identity
        self._waiting[replica] = (address, identity)
        self._counts[replica] += 1
        self._launcher.send(Launch({replica: self._agent_name(replica)}))

    def exited(self) -> dict[int, str]:
        """Return how each replica ended that is no longer running, by number."""
        ended = super().exited()
        for replica in self._waiting:
            ended.pop(replica, None)
            if (problem := self._problems.get(replica)) is not None:
                ended[replica] = problem
            elif self._launcher.lost is not None:
                ended[replica] = f"has no agent: the launcher {self._launcher.lost}"
        return ended

    def kill(self, replica: int) -> None:
        """Have the replica and every process it made killed; does not wait."""
        if self._waiting.pop(replica, None) is not None:
            self._running.pop(replica, None)
            return
        super().kill(replica)

    def close(self, grace_s: float) -> None:
        """Wait `grace_s` seconds for replicas to leave, then have the rest killed."""
        if not self._socket.closed:
            try:
                super().close(grace_s)
            finally:
                self._launcher.close()

    def _agent_name(self, replica: int) -> str:
        return agent_name(replica, self._counts[replica])

    def _node_of(self, replica: int) -> Node:
        return self._joined[replica]

    def _exchange(self) -> None:
        # Ray first: it knows why an agent is gone, the socket only that it is.
        while (message := self._launcher.receive()) is not None:
            match message:
                case Placed():
                    self._placed[message.agent] = message
                case Ended():
                    self._take_end(message)
        super()._exchange()
        if self._launcher.lost is not None and not self._closing:
            for node in self._nodes.values():
                self._end_agent(node, f"lost the launcher, which {self._launcher.lost}")

    def _take_end(self, message: Ended) -> None:
        if (node := self._nodes.get(message.agent)) is not None:
            self._end_agent(node, f"is lost to Ray: {message.cause}")
        for replica in self._waiting:
            if self._agent_name(replica) == message.agent:
                self._problems[replica] = f"got no node agent: {message.cause}"

    def _end_agent(self, node: Node, cause: str) -> None:
        # Ray may be wrong: what still runs there must not. An agent that is gone cannot
        # be reached, and `cause` says more than that.
        if node.lost is None:
            self._socket.send(node.identity, Close(0.0))
        self._lose(node, cause)

    def _take_stranger(self, identity: str, message: ToCluster | ProtocolError) -> None:
        """Let a new agent join, and have it start the replica that waits for it."""
        if not isinstance(message, Join):
            return
        for replica, (address, name) in list(self._waiting.items()):
            if self._agent_name(replica) == message.name:
                self._take_new(replica, identity, message, address, name)

    def _take_new(
        self, replica: int, identity: str, join: Join, address: str, name: str
    ) -> None:
        placed = self._placed.get(join.name)
        problem = join_problem(join) or agent_problem(
            join, placed, self._connected.gpus
        )
        if problem is not None:
            self._socket.send(identity, Refused(problem))
            self._problems[replica] = problem
        elif placed is not None:
            host = offered(join)
            node = Node(identity=identity, host=host, heard=self._clock())
            self._placements[replica] = self._slots.place(replica, placed, host)
            self._nodes[join.name] = self._by_identity[identity] = node
            self._joined[replica] = node
            del self._waiting[replica]
            self._welcome(node)
            super().start(replica, address, name)
