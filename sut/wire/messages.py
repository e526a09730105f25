"""What travels between the coordinator and its replicas.

MessagePack by msgspec; token ids travel as little-endian int32 bytes. A message that
does not fit these types is a breach of protocol by the sender. What comes once per
sample is out of the garbage collector's sight (`gc=False`): it holds no cycles.
"""

from typing import Literal

from msgspec import Struct, field

from record.structs import Int64, Json, ReplicaRecord

PROTOCOL = 2


class Hello(Struct, tag="hello", array_like=True):
    """First word of a replica."""

    protocol: int
    pid: int


class WarmupSpec(Struct):
    """Shapes to warm up with; the token ids are made up, never those of a sample."""

    typical_tokens: int
    """Prompt length of the requests timed first and last."""
    longest_tokens: int
    width: int
    """Requests of the batch between them, of lengths up to the longest."""
    vocab_size: int


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


class ReplicaSpec(Struct, tag="replica_spec", array_like=True):
    """Answer to Hello: build this engine, warm it up, then say Ready."""

    engine: EngineSpec
    warmup: WarmupSpec
    clock_id: str = ""
    """Of the coordinator's monotonic clock: see `sut.clock.clock_id`."""


class Request(Struct, array_like=True, gc=False):
    """One sample to answer."""

    seq: int
    attempt: int
    prompt: bytes


class Generate(Struct, tag="generate", array_like=True):
    """Samples to answer, in this order."""

    requests: list[Request]
    arrived_ns: int = 0
    """Monotonic clock of the replica; set there."""


class ClockReading(Struct, tag="clock", array_like=True):
    """Answer to a heartbeat that carries its time."""

    sent_ns: Int64
    """That time."""
    monotonic_ns: Int64
    """The coordinator's monotonic clock between its receipt and this answer."""


class Stop(Struct, tag="stop", array_like=True):
    """No more work: leave."""


class Phase(Struct, tag="phase", array_like=True):
    """A replica's start has come to this point."""

    name: str


class Ready(Struct, tag="ready", array_like=True):
    """The engine is warm and waits for samples."""

    record: ReplicaRecord
    max_num_batched_tokens: int
    """Prompt tokens that one engine step may take in."""


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
    """From the request's arrival to the answer's departure; set by the replica."""


class Failed(Struct, array_like=True, gc=False):
    """An engine's refusal of one sample; the replica goes on."""

    seq: Int64
    attempt: Int64
    cause: str


class Outputs(Struct, tag="outputs", array_like=True):
    """What one engine step produced, and the engine's queue after it."""

    first: list[FirstToken]
    done: list[Completion]
    failed: list[Failed]
    waiting: Int64
    """Samples that wait in the engine, of those `received`."""
    received: Int64
    """Samples taken in since the replica was ready."""


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


class HostReading(Struct, array_like=True):
    """What the host's processors did; fields as in `record.structs.HostLine`."""

    process_cpu_pct: float | None
    host_cpu_pct: float | None
    steal_pct: float | None
    involuntary_switches: Int64 | None


class Heartbeat(Struct, tag="heartbeat", array_like=True):
    """Heartbeat, once a second."""

    stuck_s: float
    """Seconds since the engine last finished a step while it had work."""
    running: Int64
    waiting: Int64
    kv_used: float | None
    devices: list[DeviceReading]
    host: HostReading | None = None
    sent_ns: Int64 = 0
    """The replica's monotonic clock; 0: it needs no `ClockReading`."""
    server_running: Int64 | None = None
    server_waiting: Int64 | None = None
    prefix_cache_hit_tokens: Int64 | None = None


class Steps(Struct, tag="steps", array_like=True):
    """What the engine did since the message before."""

    records: bytes
    """Of type `record.steps.STEP`, without the replica; `start_ns` is the coordinator's
    monotonic clock."""
    missing: Int64
    """Steps of which there is no record."""
    clock_error_ns: Int64
    """Largest error of `start_ns`."""
    last: bool
    """Whether no other follows."""


class Fatal(Struct, tag="fatal", array_like=True):
    """The replica cannot go on and leaves."""

    kind: Literal["config", "crash"]
    cause: str


ToReplica = ReplicaSpec | Generate | ClockReading | Stop
ToCoordinator = Hello | Phase | Ready | Outputs | Heartbeat | Steps | Fatal


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
    near: dict[str, list[int]] = field(default_factory=dict)
    """Cores that belong to each GPU, where the node has several NUMA nodes."""


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
    near = [core for cores in join.near.values() for core in cores]
    if join.near and (
        not set(near) <= set(join.cpus) or not set(join.gpus) <= join.near.keys()
    ):
        return f"node {join.name} offers cores for its GPUs that it does not have"
    if not all(gpu.isprintable() and len(gpu) <= LONGEST_NAME for gpu in join.gpus):
        return f"node {join.name} offers GPUs under names that no driver gives"
    return None


class Report(Struct, tag="report", array_like=True):
    """Heartbeat, and what has changed; replicas by their identity."""

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
    """Heartbeat, once a second."""


class Close(Struct, tag="close", array_like=True):
    """The run is over: give replicas some seconds to leave, kill the rest."""

    grace_s: float


ToCluster = Join | Report | Left
ToNode = Welcome | Refused | Start | ReplicaReady | Kill | Ping | Close
