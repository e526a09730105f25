"""Messages between the coordinator and its replicas.

Messages are MessagePack, by msgspec. Token ids are little-endian int32 bytes. A message
that does not fit these types is a protocol error of its sender. The garbage collector
does not track messages that exist once per sample (`gc=False`); they have no cycles.
"""

from typing import Literal

from msgspec import Struct

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
    """Each step's prompt tokens are chosen so that TPOT meets its limit."""

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
    output_tokens: int | None = None
    """Tokens that the answer must have; None: it ends by itself, or at the limit."""


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
