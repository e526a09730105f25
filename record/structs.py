"""Records of a run folder, one typed struct per line or file.

Times named `*_ns` are nanoseconds. Points in time are the coordinator's monotonic
clock plus one offset to the epoch, fixed when the run starts (`ClockRecord.epoch_ns`):
setting the host's clock does not change them. Durations (`queue_ns`, `prefill_ns`,
`decode_ns`) were measured inside the replica, so times of two clocks are never
subtracted from each other.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from base.benchmark import MAX_TOKENS
from base.decode import finite_number
from record.devices import DeviceHealth, DeviceLimits, DeviceUse, HostHealth

Json = Any
"""A value read from JSON or written to it; readers that need one type check it."""

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""The range of a numpy column; records of other programs may exceed it."""
Seconds = Annotated[float, Meta(ge=0.0, le=1e15)]
"""A duration. JSON has no NaN and no infinity, so a record must not contain them."""
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""Answers are sent as int32."""
CheckOutcome = Literal["passed", "failed", "skipped"]
EventKind = Literal[
    "fence",
    "retry",
    "death",
    "stall",
    "rejoin",
    "abort",
    "protocol",
    "clock",
    "pause",
]
"""`clock`: the host's clock was set during LoadGen's test. `pause`: the coordinator's
process did not run for some time during the test."""


class SampleRecord(Struct, gc=False):
    """One sample in its final state: a line of `samples.jsonl`."""

    seq: Int64
    """Order of issue; equals LoadGen's `seq_id`."""
    qsl_index: Int64
    """Row of the data set."""
    node: str | None
    """Host of the replica that had the sample last."""
    replica: Int64 | None
    """Its number; null if the sample never left the coordinator."""
    attempt: Int64
    """1 for the first attempt, plus 1 for each time the sample was sent again."""
    issued_ns: Int64
    """LoadGen issued it."""
    dispatched_ns: Int64 | None
    """The coordinator sent it to the replica."""
    first_token_ns: Int64 | None
    """The first token reached the coordinator; null if the scenario does not stream."""
    completed_ns: Int64 | None
    """The answer reached the coordinator."""
    queue_ns: Int64 | None
    """Waiting in the engine, before it was scheduled for the first time."""
    prefill_ns: Int64 | None
    """From then to the first token."""
    decode_ns: Int64 | None
    """First token to last token."""
    prompt_tokens: Int64
    output_tokens: Int64
    finish_reason: str | None
    """vLLM's: `length` or `stop`."""
    status: Literal["completed", "lost", "unfinished"]
    """`unfinished`: open when a campaign stopped the run early."""
    residence_ns: Int64 | None = None
    """From the request's arrival in the replica to the sending of the answer, measured
    there. The rest of the time from dispatch to completion is spent in messages."""
    cached_tokens: Int64 | None = None
    """Prompt tokens that the engine took from its prefix cache."""


class EventRecord(Struct, kw_only=True):
    """A fault, or a reaction to one: a line of `events.jsonl`."""

    t_ns: Int64
    kind: EventKind
    node: str | None = None
    replica: Int64 | None = None
    seq: Int64 | None = None
    cause: str


class ClockRecord(Struct, kw_only=True):
    """`clock.json`: the host's clock, which LoadGen reads, during LoadGen's test."""

    epoch_ns: Int64
    """Added to the monotonic clock for every point in time of the run."""
    begin_ns: Int64
    """When LoadGen was started."""
    end_ns: Int64
    """When the clocks were last compared, after LoadGen had ended."""
    largest_drift_ns: Int64
    """Largest change of (wall clock - monotonic clock) since `begin_ns`, with sign."""


class DeviceLine(Struct, kw_only=True, tag_field="source", tag="device"):
    """State of one device at one moment: a line of `telemetry.jsonl`."""

    t_ns: Int64
    node: str
    replica: Int64
    device: str
    memory_used_bytes: Int64 | None = None
    memory_total_bytes: Int64 | None = None
    utilization_pct: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    sm_clock_mhz: Int64 | None = None
    memory_clock_mhz: Int64 | None = None
    throttle_reasons: Int64 | None = None
    """NVML's bit mask of clock event reasons."""
    ecc_errors: Int64 | None = None
    """Uncorrected errors since the driver was loaded."""
    ecc_corrected: Int64 | None = None
    """Corrected errors since the driver was loaded."""
    pcie_generation: Int64 | None = None
    """Of the link at this moment; an idle device may lower it."""
    pcie_width: Int64 | None = None
    pcie_replays: Int64 | None = None
    """Packets that were sent again, in every tenth line."""
    nvlink_errors: Int64 | None = None
    """Replays, recoveries and CRC errors of all NVLinks, in every tenth line."""
    xid: Int64 | None = None
    """NVIDIA's number of the last fault since the replica was started."""


class EngineLine(Struct, kw_only=True, tag_field="source", tag="engine"):
    """State of one engine at one moment: a line of `telemetry.jsonl`."""

    t_ns: Int64
    node: str
    replica: Int64
    running: Int64
    waiting: Int64
    kv_used: float | None
    """Share of the KV cache in use, 0 to 1."""
    server_running: Int64 | None = None
    """If the engine is a server: running requests of all its clients."""
    server_waiting: Int64 | None = None
    prefix_cache_hit_tokens: Int64 | None = None
    """Prompt tokens that the server took from its prefix cache since it was started."""


class HostLine(Struct, kw_only=True, tag_field="source", tag="host"):
    """Use of the host's processors by one process: a line of `telemetry.jsonl`."""

    t_ns: Int64
    node: str
    replica: Int64 | None
    """None: the coordinator."""
    process_cpu_pct: float | None = None
    """Processor time of the process since the previous line; 100 is one core."""
    host_cpu_pct: float | None = None
    """Share of the host's processor time that was in use since the previous line."""
    steal_pct: float | None = None
    """Share of the host's processor time that the hypervisor gave to other guests."""
    involuntary_switches: Int64 | None = None
    """How often the process lost its core to another one, since it started."""


TelemetryLine = DeviceLine | EngineLine | HostLine


class ReplicaRecord(Struct, kw_only=True):
    """A replica as it was when it became ready: an entry of `replicas.json`."""

    replica: Int64
    node: str
    pid: int
    devices: list[str]
    cpus: list[int]
    versions: dict[str, str]
    model: dict[str, Json]
    """Shape of the model as the engine loaded it."""
    engine: dict[str, Json]
    """Effective engine settings, e.g. max_num_seqs, kv_cache_tokens."""
    memory_bytes: int | None
    """Device memory in use when ready (on a CPU: resident memory of the process)."""
    load_s: Seconds
    compile_s: Seconds | None
    warmup_s: Seconds
    first_request_s: Seconds
    """Latency of the first warm-up request."""
    last_request_s: Seconds
    """Latency of the last warm-up request, of the same shape as the first."""
    limits: list[DeviceLimits] = field(default_factory=list)
    before: list[DeviceUse] = field(default_factory=list)
    """Use of its GPUs before it loaded anything."""
    health: list[DeviceHealth] = field(default_factory=list)
    """State of its GPUs before it loaded anything."""
    host: HostHealth | None = None
    capacity_tokens_per_s: float | None = None
    """Prompt and answer tokens per second while it had work; known after the run."""
    restarts: int = 0
    """How often it was lost and restarted; other fields describe the last process."""
    steps_missing: Int64 | None = None
    """Engine steps without a record; None if steps were not recorded."""
    steps_clock_error_ns: Int64 | None = None
    """Largest error of their `start_ns`; 0 on the coordinator's own host."""
    memory_node: int | None = None
    """NUMA node to which its memory is bound; None: to none."""


class Relaxed(Struct, kw_only=True):
    """A LoadGen setting that differs from the rules."""

    setting: str
    rule: Json
    value: Json


class SettingsRecord(Struct, kw_only=True):
    """`settings.json`: the request, and the settings that LoadGen used."""

    benchmark: str
    scenario: str
    mode: str
    kind: str
    streaming: bool
    loadgen_model: str
    loadgen_scenario: str
    is_benchmark: bool
    """Whether model and data are the benchmark's own."""
    stop_token_ids: list[TokenId]
    tokenizer: str | None
    """The model's tokenizer.json, if it has one."""
    effective: dict[str, Json]
    rules: dict[str, Json]
    relaxed: list[Relaxed]
    dataset_sha256: str | None = None
    """SHA-256 of the data set's file; None if the data are synthetic."""
    version: str = ""
    """Version of this package; empty in runs of versions that did not record it."""
    max_output_tokens: int = MAX_TOKENS
    """Most tokens of an answer."""
    prescribed_lengths: bool = False
    """Whether the data set prescribes the length of each answer."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot be calculated with.

        Raises:
            ValueError: a number is no number, or does not fit LoadGen's 64 bits.
        """
        for name, value in (*self.effective.items(), *self.rules.items()):
            wanted = value is not None and name.endswith(_NUMBERS)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if (wanted or whole) and not _is_number(value):
                raise ValueError(f"{name} is not a number of 64 bits: {value!r:.40}")

    def number(self, name: str) -> float | None:
        """Return a setting that was in force as a number; None: there is none."""
        return finite_number(self.effective.get(name))


_NUMBERS = (
    *("_qps", "_percentile", "_latency", "_ns", "_ms", "_count", "_override", "_seed"),
)
"""How the names of LoadGen's settings that are numbers end."""


def _is_number(value: Json) -> bool:
    """Return whether a value is a number that fits LoadGen's 64 bits."""
    if isinstance(value, float):
        return True
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and -(2**63) <= value < 2**64


class Check(Struct, kw_only=True):
    """One check of the gate."""

    name: str
    limit: Json
    value: Json
    outcome: CheckOutcome
    note: str = ""

    @property
    def reason(self) -> str:
        """The value and the limit, as a phrase."""
        tail = f" ({self.note})" if self.note else ""
        return f"{self.name} is {self.value}, limit {self.limit}{tail}"


class Verdict(Struct, kw_only=True):
    """`verdict.json`: the gate's judgment of the run."""

    outcome: Literal["passed", "failed", "aborted", "stopped"]
    """`stopped`: a campaign ended the run early. It shows nothing about the system."""
    degraded: bool
    submission_candidate: bool
    relaxed: list[str]
    checks: list[Check] = field(default_factory=list)
    reason: str = ""
    eligible: bool | None = None
    """Whether the run is a submission candidate if no check fails; None if not known,
    as in verdicts of earlier versions."""

    def replace(self, names: Iterable[str], checks: Iterable[Check]) -> None:
        """Replace the checks `names` by `checks`, and update the outcome.

        A run that was aborted or stopped keeps its outcome.
        """
        gone = set(names)
        kept = [check for check in self.checks if check.name not in gone]
        self.checks = [*kept, *checks]
        if self.ended_early:
            return
        failures = self.failures
        self.outcome = "failed" if failures else "passed"
        self.reason = failures[0].reason if failures else ""
        eligible = self.submission_candidate if self.eligible is None else self.eligible
        self.submission_candidate = eligible and not failures

    @property
    def ended_early(self) -> bool:
        """Whether the run ended before LoadGen did."""
        return self.outcome in ("aborted", "stopped")

    @property
    def failures(self) -> list[Check]:
        """The failed checks."""
        return [check for check in self.checks if check.outcome == "failed"]
