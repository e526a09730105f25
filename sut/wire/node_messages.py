"""What travels between `cluster=external` and its nodes; MessagePack by msgspec."""

from msgspec import Struct, field

NODE_PROTOCOL = 1
LARGEST_TO_CLUSTER = 4 << 20
"""Bytes of the largest message of a node. A report has 1 MiB of output and the endings
of its replicas at most."""
LARGEST_TO_NODE = 16 << 20
"""Bytes of the largest message to a node: a welcome with 4,096 placements of hundreds
of cores each."""
LONGEST_NAME = 200
"""Bytes of UTF-8; ZeroMQ allows 255 for it and what makes it unique."""
_MOST_CORES = 1 << 16


class Placement(Struct, kw_only=True):
    """Where one replica runs and what it may use."""

    replica: int
    node: str
    gpus: list[str] = []
    """Indices or UUIDs of its GPUs; empty: it runs on the CPU."""
    cpus: list[int] = []
    """Cores it is pinned to; empty: any."""


class Join(Struct, tag="join", array_like=True):
    """A node offers itself; said each second until there is an answer."""

    protocol: int
    name: str
    gpus: list[str]
    cpus: list[int]
    source: str
    """Digest of the code that the node runs."""


def join_problem(join: Join) -> str | None:
    """Return why no node can offer itself like this, or None."""
    if not join.name.isprintable():
        return f"the name {join.name!a} holds control characters or is no UTF-8"
    if not 0 < len(join.name.encode()) <= LONGEST_NAME:
        return f"the name of a node has at most {LONGEST_NAME} characters, at least one"
    if not join.cpus:
        return f"node {join.name} offers no cores"
    if len(join.cpus) > _MOST_CORES or not all(
        0 <= core < _MOST_CORES for core in join.cpus
    ):
        return f"node {join.name} offers cores that no host has"
    if not all(gpu.isprintable() and len(gpu) <= LONGEST_NAME for gpu in join.gpus):
        return f"node {join.name} offers GPUs under names that no driver gives"
    return None


class Report(Struct, tag="report", array_like=True):
    """Sign of life, and what has changed; replicas by their identity."""

    exited: dict[str, str] = field(default_factory=dict)
    """How those ended that were not killed on demand."""
    gone: list[str] = field(default_factory=list)
    """Those that were killed and of which nothing is left."""
    output: dict[int, bytes] = field(default_factory=dict)
    """What replicas have written to their logs, by replica."""


class Left(Struct, tag="left", array_like=True):
    """Nothing runs any more; the node's last word in this run."""


class Welcome(Struct, tag="welcome", array_like=True):
    """The node takes part."""

    placements: list[Placement]
    """Those of its replicas."""
    environment: dict[str, str]
    """Variables set for every replica."""
    silence_s: float
    """Seconds without a word from the coordinator after which the run is over."""


class Refused(Struct, tag="refused", array_like=True):
    """The node cannot take part."""

    reason: str


class Start(Struct, tag="start", array_like=True):
    """Start the process of a replica."""

    replica: int
    identity: str
    port: int
    """The coordinator's, for replicas."""


class ReplicaReady(Struct, tag="replica_ready", array_like=True):
    """A replica holds what it will hold."""

    replica: int


class Kill(Struct, tag="kill", array_like=True):
    """Kill a replica and every process it made."""

    replica: int


class Ping(Struct, tag="ping", array_like=True):
    """Sign of life, once a second."""


class Close(Struct, tag="close", array_like=True):
    """The run is over: give replicas some seconds to leave, kill the rest."""

    grace_s: float


ToCluster = Join | Report | Left
ToNode = Welcome | Refused | Start | ReplicaReady | Kill | Ping | Close
