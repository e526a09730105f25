"""Messages between a node agent and its cluster, as MessagePack by msgspec."""

from msgspec import Struct, field

NODE_PROTOCOL = 1
LARGEST_TO_CLUSTER = 4 << 20
"""Bytes of the largest message of a node: a report has at most 1 MiB of output, and how
its replicas ended."""
LARGEST_TO_NODE = 16 << 20
"""Bytes of the largest message to a node: a welcome with 4,096 placements of hundreds
of cores each."""
LONGEST_NAME = 200
"""Longest name of a node in bytes of UTF-8. ZeroMQ allows 255 for an identity, which is
the name and a unique suffix."""
_MOST_CORES = 1 << 16


class Placement(Struct, kw_only=True):
    """Where one replica runs and what it may use."""

    replica: int
    node: str
    gpus: list[str] = []
    """Indices or UUIDs of its GPUs; empty for a CPU replica."""
    cpus: list[int] = []
    """Cores that it is pinned to; empty: any."""


class Join(Struct, tag="join", array_like=True):
    """A node asks to join; sent each second until there is an answer."""

    protocol: int
    name: str
    gpus: list[str]
    cpus: list[int]
    source: str
    """Digest of the code that the node runs."""
    near: dict[str, list[int]] = field(default_factory=dict)
    """Cores that belong to each GPU, where the node has several NUMA nodes."""


def join_problem(join: Join) -> str | None:
    """Return what is wrong with a Join message, or None."""
    if not join.name.isprintable():
        return f"the name {join.name!a} holds control characters or is no UTF-8"
    if not 0 < len(join.name.encode()) <= LONGEST_NAME:
        return f"the name of a node must have 1 to {LONGEST_NAME} bytes in UTF-8"
    if not join.cpus:
        return f"node {join.name} offers no cores"
    if len(join.cpus) > _MOST_CORES or not all(
        0 <= core < _MOST_CORES for core in join.cpus
    ):
        return f"node {join.name} offers cores that no host has"
    near = [core for cores in join.near.values() for core in cores]
    if join.near and (
        not set(near) <= set(join.cpus) or not set(join.gpus) <= join.near.keys()
    ):
        return f"node {join.name} offers cores for its GPUs that it does not have"
    if not all(gpu.isprintable() and len(gpu) <= LONGEST_NAME for gpu in join.gpus):
        return f"node {join.name} offers GPUs under names that no driver gives"
    return None


class Report(Struct, tag="report", array_like=True):
    """Heartbeat of a node, with changes; replicas are named by their identity."""

    exited: dict[str, str] = field(default_factory=dict)
    """How replicas ended that the coordinator did not kill."""
    gone: list[str] = field(default_factory=list)
    """Replicas that were killed and have no process left."""
    output: dict[int, bytes] = field(default_factory=dict)
    """New output of replicas for their logs, by replica."""


class Left(Struct, tag="left", array_like=True):
    """No replica runs any more; last message of a node in this run."""


class Welcome(Struct, tag="welcome", array_like=True):
    """The coordinator accepts the node."""

    placements: list[Placement]
    """Placements of its replicas."""
    environment: dict[str, str]
    """Variables set for every replica."""
    silence_s: float
    """Seconds without a message from the coordinator after which the run is over."""


class Refused(Struct, tag="refused", array_like=True):
    """The coordinator rejects the node."""

    reason: str


class Start(Struct, tag="start", array_like=True):
    """Start the process of a replica."""

    replica: int
    identity: str
    port: int
    """The coordinator's port for replicas."""


class ReplicaReady(Struct, tag="replica_ready", array_like=True):
    """A replica is ready: it has allocated all its shared memory."""

    replica: int


class Kill(Struct, tag="kill", array_like=True):
    """Kill a replica and every process it made."""

    replica: int


class Ping(Struct, tag="ping", array_like=True):
    """Heartbeat of the coordinator, sent once a second."""


class Close(Struct, tag="close", array_like=True):
    """The run is over: give replicas `grace_s` seconds to end, then kill the rest."""

    grace_s: float


ToCluster = Join | Report | Left
ToNode = Welcome | Refused | Start | ReplicaReady | Kill | Ping | Close
