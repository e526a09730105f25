"""Messages between the coordinator, its replicas and its nodes.

Messages are MessagePack, by msgspec. Token ids are little-endian int32 bytes. A message
that does not fit these types is a protocol error of its sender. The garbage collector
does not track messages that exist once per sample (`gc=False`); they have no cycles.
"""

from typing import Literal

from msgspec import Struct, field

from record.structs import Int64, Json, ReplicaRecord

PROTOCOL = 2


class Hello(Struct, tag="hello", array_like=True):
    """First message of a replica."""

    protocol: int
    pid: int


class WarmupSpec(Struct):
    """Shapes for the warm-up; token ids are synthetic, never those of a sample."""

    typical_tokens: int
    """Prompt length of the first and the last request, which are timed."""
    longest_tokens: int
    width: int
    """Number of requests in the batch between them, with lengths up to the longest."""
    vocab_size: int


class StepModel(Struct, frozen=True):
    """How long an engine's step takes: the sum of these, in s."""

    step_s: float
    """Of each step."""
    prefill_s: float
    """Of each prompt token in it."""
    decode_s: float
    """Of each request past its prompt in it."""
    cached_s: float
    """Of each token in the KV cache."""


class AdaptiveSpec(Struct):
    """Each step's prompt tokens are chosen so that TPOT keeps its limit."""

    tpot_s: float
    """The limit."""
    model: StepModel | None
    """None: fitted in the warm-up."""


class EngineSpec(Struct):
    """Everything a replica needs to build its engine."""

    engine: Literal["vllm", "synthetic", "endpoint"]
    model_path: str
    dummy_weights: bool
    dtype: str
    max_model_len: int
    gpus: int
    streaming: bool
    min_tokens: int
    max_tokens: int
    ignore_eos: bool
    stop_token_ids: list[int]
    seed: int
    options: dict[str, Json]
    """vLLM engine arguments, or the options of another engine."""
    steps: bool = False
    """Whether each engine step is recorded."""
    adaptive: AdaptiveSpec | None = None
    """None: a step takes in all prompt tokens that vLLM's options allow."""


class ReplicaSpec(Struct, tag="replica_spec", array_like=True):
    """Answer to Hello: build this engine, warm it up, then send Ready."""

    engine: EngineSpec
    warmup: WarmupSpec
    clock_id: str = ""
    """Identity of the coordinator's monotonic clock: see `sut.clock.clock_id`."""


class Request(Struct, array_like=True, gc=False):
    """One sample to answer."""

    seq: int
    attempt: int
    prompt: bytes


class Generate(Struct, tag="generate", array_like=True):
    """Samples to answer, in this order."""

    requests: list[Request]
    arrived_ns: int = 0
    """Time of arrival by the replica's monotonic clock; set by the replica."""


class ClockReading(Struct, tag="clock", array_like=True):
    """Answer to a heartbeat that has a time."""

    sent_ns: Int64
    """The time in the heartbeat."""
    monotonic_ns: Int64
    """The coordinator's monotonic clock when it handled the heartbeat."""


class Stop(Struct, tag="stop", array_like=True):
    """There is no more work; the replica ends."""


class Phase(Struct, tag="phase", array_like=True):
    """A step in the start of a replica has begun."""

    name: str


class Ready(Struct, tag="ready", array_like=True):
    """The engine is warm and waits for samples."""

    record: ReplicaRecord
    max_num_batched_tokens: int
    """Most prompt tokens in one engine step."""


class FirstToken(Struct, array_like=True, gc=False):
    """The first token of an answer."""

    seq: Int64
    attempt: Int64
    token: bytes


class Completion(Struct, array_like=True, gc=False):
    """A whole answer."""

    seq: Int64
    attempt: Int64
    tokens: bytes
    finish_reason: str
    cached_tokens: Int64 | None
    queue_ns: Int64 | None
    prefill_ns: Int64 | None
    decode_ns: Int64 | None
    residence_ns: Int64 | None = None
    """From arrival of the request to sending of the answer; set by the replica."""


class Failed(Struct, array_like=True, gc=False):
    """The engine refused one sample; the replica continues."""

    seq: Int64
    attempt: Int64
    cause: str


class Outputs(Struct, tag="outputs", array_like=True):
    """What one engine step produced, and the engine's queue after it."""

    first: list[FirstToken]
    done: list[Completion]
    failed: list[Failed]
    waiting: Int64
    """Number of the `received` samples that wait in the engine."""
    received: Int64
    """Number of samples received since the replica was ready."""


class DeviceReading(Struct):
    """One device at one moment; fields as in `record.structs.DeviceLine`."""

    device: str
    memory_used_bytes: Int64 | None = None
    memory_total_bytes: Int64 | None = None
    utilization_pct: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    sm_clock_mhz: Int64 | None = None
    memory_clock_mhz: Int64 | None = None
    throttle_reasons: Int64 | None = None
    ecc_errors: Int64 | None = None
    ecc_corrected: Int64 | None = None
    pcie_generation: Int64 | None = None
    pcie_width: Int64 | None = None
    pcie_replays: Int64 | None = None
    nvlink_errors: Int64 | None = None
    xid: Int64 | None = None


class HostReading(Struct, array_like=True):
    """Use of the host's processors; fields as in `record.structs.HostLine`."""

    process_cpu_pct: float | None
    host_cpu_pct: float | None
    steal_pct: float | None
    involuntary_switches: Int64 | None


class Heartbeat(Struct, tag="heartbeat", array_like=True):
    """State of a replica, sent once a second."""

    stuck_s: float
    """Seconds since the engine, while it had work, last finished a step."""
    running: Int64
    waiting: Int64
    kv_used: float | None
    devices: list[DeviceReading]
    host: HostReading | None = None
    sent_ns: Int64 = 0
    """The replica's monotonic clock; 0 if it needs no `ClockReading`."""
    server_running: Int64 | None = None
    server_waiting: Int64 | None = None
    prefix_cache_hit_tokens: Int64 | None = None


class Steps(Struct, tag="steps", array_like=True):
    """Records of the engine steps since the previous message."""

    records: bytes
    """Records of type `record.steps.STEP` without the replica. `start_ns` is a time of
    the coordinator's monotonic clock."""
    missing: Int64
    """Number of steps without a record."""
    clock_error_ns: Int64
    """Largest error of `start_ns`."""
    last: bool
    """Whether this is the last message of this type."""


class Fatal(Struct, tag="fatal", array_like=True):
    """The replica cannot continue, and ends."""

    kind: Literal["config", "crash"]
    cause: str


ToReplica = ReplicaSpec | Generate | ClockReading | Stop
ToCoordinator = Hello | Phase | Ready | Outputs | Heartbeat | Steps | Fatal


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
        return f"the name of a node has at most {LONGEST_NAME} characters, at least one"
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
