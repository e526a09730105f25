"""Records of a run folder, one typed struct per line or file.

Times named `*_ns` are nanoseconds. Points in time are the coordinator's monotonic
clock plus one offset to the epoch, fixed when the run starts (`ClockRecord.epoch_ns`):
setting the host's clock does not change them. Durations (`queue_ns`, `prefill_ns`,
`decode_ns`) were measured inside the replica, so no two clocks are ever subtracted from
each other.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from record.json_types import Json

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""What a column of numpy can hold: records of other programs may hold more."""
Seconds = Annotated[float, Meta(ge=0.0, le=1e15)]
"""A duration. JSON has no NaN and no infinity: what holds them cannot be read again."""
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""Answers travel as int32."""
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
process did not run for some time of it."""


class SampleRecord(Struct, gc=False):
    """One sample in its final state: a line of `samples.jsonl`."""

    seq: Int64
    """Order of issue; equals LoadGen's `seq_id`."""
    qsl_index: Int64
    node: str | None
    replica: Int64 | None
    attempt: Int64
    """1 for the first try; one more for each time the sample was handed out again."""
    issued_ns: Int64
    dispatched_ns: Int64 | None
    first_token_ns: Int64 | None
    completed_ns: Int64 | None
    queue_ns: Int64 | None
    prefill_ns: Int64 | None
    decode_ns: Int64 | None
    prompt_tokens: Int64
    output_tokens: Int64
    finish_reason: str | None
    status: Literal["completed", "lost", "unfinished"]
    """`unfinished`: open when a campaign stopped the run early."""
    held_ns: Int64 | None = None
    """From the request's arrival at the replica to the answer's departure, measured
    there. The rest of dispatch to completion is spent in messages."""
    cached_tokens: Int64 | None = None
    """Prompt tokens that the engine took from its prefix cache."""


class EventRecord(Struct, kw_only=True):
    """Something out of the ordinary: a line of `events.jsonl`."""

    t_ns: Int64
    kind: EventKind
    node: str | None = None
    replica: Int64 | None = None
    seq: Int64 | None = None
    cause: str


class ClockRecord(Struct, kw_only=True):
    """`clock.json`: the host's clock, which LoadGen reads, during LoadGen's test."""

    epoch_ns: Int64
    """What was added to the monotonic clock for every point in time of the run."""
    begin_ns: Int64
    """When LoadGen was started."""
    end_ns: Int64
    """When the clocks were compared for the last time, after LoadGen had ended."""
    largest_drift_ns: Int64
    """Largest change of (wall clock - monotonic clock) since `begin_ns`, by size."""


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
    """Where the engine is a server: what it reports for all its clients."""
    server_waiting: Int64 | None = None
    prefix_cache_hit_tokens: Int64 | None = None
    """Prompt tokens that the server took from its cache since it was started."""


class HostLine(Struct, kw_only=True, tag_field="source", tag="host"):
    """What the host's processors did for one process: a line of `telemetry.jsonl`."""

    t_ns: Int64
    node: str
    replica: Int64 | None
    """None: the coordinator."""
    process_cpu_pct: float | None = None
    """Processor time of the process since the line before; 100 is one core."""
    host_cpu_pct: float | None = None
    """Share of all processor time of the host that was in use since then."""
    steal_pct: float | None = None
    """Share of it that the hypervisor gave to others."""
    involuntary_switches: Int64 | None = None
    """Times that the process was made to wait for a core, since it began."""


TelemetryLine = DeviceLine | EngineLine | HostLine


class DeviceLimits(Struct, kw_only=True):
    """The limits of a device, as its driver reports them."""

    device: str
    memory_bytes: int | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_w: float | None = None
    link: str | None = None
    """To other devices or the host, e.g. "NVLink x18, PCIe gen5 x16"."""


class DeviceUse(Struct, kw_only=True):
    """What others did with a device before its replica loaded anything."""

    device: str
    memory_used_bytes: int | None = None
    """Without what the driver keeps for itself."""
    utilization_pct: float | None = None


class ReplicaRecord(Struct, kw_only=True):
    """A replica as it stood when it was ready: an entry of `replicas.json`."""

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
    """Its GPUs before it loaded anything."""
    capacity_tokens_per_s: float | None = None
    """Prompt and answer tokens per second of having work; known after the run."""
    restarts: int = 0
    """Times that it was lost and restarted; the rest describes its last process."""
    steps_missing: Int64 | None = None
    """Engine steps of which there is no record; None: none were recorded."""
    steps_clock_error_ns: Int64 | None = None
    """Largest error of their `start_ns`; 0 on the coordinator's own host."""


class Relaxed(Struct, kw_only=True):
    """A LoadGen setting that differs from the rules."""

    setting: str
    rule: Json
    value: Json


class SettingsRecord(Struct, kw_only=True):
    """`settings.json`: what was asked for, and the settings that LoadGen used."""

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
    """The model's tokenizer.json; None: it has none."""
    effective: dict[str, Json]
    rules: dict[str, Json]
    relaxed: list[Relaxed]
    dataset_sha256: str | None = None
    """Of the data set's file; None: it is made up."""
    version: str = ""
    """Of this package; empty in runs made before it was recorded."""


class Check(Struct, kw_only=True):
    """One thing the gate looked at."""

    name: str
    limit: Json
    value: Json
    outcome: CheckOutcome
    note: str = ""

    @property
    def reason(self) -> str:
        """What was found, in a few words."""
        tail = f" ({self.note})" if self.note else ""
        return f"{self.name} is {self.value}, limit {self.limit}{tail}"


class Verdict(Struct, kw_only=True):
    """`verdict.json`: the gate's judgement of the run."""

    outcome: Literal["passed", "failed", "aborted", "stopped"]
    """`stopped`: a campaign ended the run early. It shows nothing about the system."""
    degraded: bool
    submission_candidate: bool
    relaxed: list[str]
    checks: list[Check] = field(default_factory=list)
    reason: str = ""
    eligible: bool | None = None
    """Whether the run is a submission candidate once no check fails; None: not known,
    as in verdicts of earlier versions."""

    def replace(self, names: Iterable[str], checks: Iterable[Check]) -> None:
        """Put `checks` in the place of the checks `names`, and decide again.

        A run that was aborted or stopped stays so.
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
        """Checks that did not hold."""
        return [check for check in self.checks if check.outcome == "failed"]
