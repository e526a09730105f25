"""What travels between `cluster=ray` and its launcher: lines of JSON in pipes."""

from msgspec import Struct, field


class Connect(Struct, tag="connect", kw_only=True):
    """The first message: join the Ray cluster, or start one, and plan the replicas."""

    address: str | None
    """As `cluster.address`."""
    replicas: int | None
    gpus: int | None
    """GPUs of one replica; None: 1 where a node has GPUs, else 0."""
    cpus: int | None
    """Cores of one replica; None: a node's share."""
    spread: bool
    labels: dict[str, str] = field(default_factory=dict)


class Serve(Struct, tag="serve", kw_only=True):
    """How node agents reach the coordinator; sent once, before the first `Launch`."""

    address: str
    """HOST:PORT."""
    key: str
    """The run's key, as its file holds it."""
    wait_s: float
    """Seconds that an agent tries to reach the coordinator."""


class Launch(Struct, tag="launch"):
    """Start node agents, instead of those that these replicas had."""

    agents: dict[int, str]
    """Name of each agent by its replica; a name is used once."""


class Shut(Struct, tag="shut"):
    """The run is over: leave nothing on any node."""


class Connected(Struct, tag="connected", kw_only=True):
    """The launcher is part of the Ray cluster."""

    ray: str
    """Release of Ray."""
    address: str
    """HOST:PORT of the Ray cluster."""
    host: str
    """Address by which other nodes reach this host."""
    started: bool
    """Whether the launcher started the Ray cluster."""
    nodes: list[str]
    """Names of its nodes that may get replicas."""
    replicas: int
    gpus: int
    cpus: int


class Note(Struct, tag="note"):
    """A line for the user."""

    text: str


class Placed(Struct, tag="placed", kw_only=True):
    """Ray has set resources aside for an agent, and its process begins."""

    agent: str
    node: str
    """Name of the node in reports."""
    host: str
    """Name that the host has; Ray nodes on one host share its cores."""
    slots: int
    """Replicas like this one that the whole host has room for."""
    shared: bool
    """Whether something else had cores of the host when the run began."""


class Ended(Struct, tag="ended", kw_only=True):
    """An agent is gone, by itself or with its node."""

    agent: str
    cause: str
    misconfigured: bool
    """Whether the cause is a mistake of the user."""


class Failed(Struct, tag="failed", kw_only=True):
    """The launcher cannot go on; its last message."""

    cause: str
    misconfigured: bool


ToLauncher = Connect | Serve | Launch | Shut
FromLauncher = Connected | Note | Placed | Ended | Failed
