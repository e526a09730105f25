"""`qualify.json`: what a qualification asked for, measured and decided."""

from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from record.folder import read_json
from record.structs import Json

NAME = "qualify.json"

Phase = Literal["offline_all", "offline_alone", "answers", "server_alone", "server_all"]
"""`alone`: at most one replica of each node has work. `all`: every replica has."""
Outcome = Literal["passed", "failed", "skipped", "warning"]
"""`skipped`: there was nothing to compare with. A warning does not fail a replica."""
Status = Literal["running", "interrupted", "passed", "failed"]


class HardwareFact(Struct, kw_only=True):
    """What the record of a run shows about a device, its links or its cores."""

    code: str
    """Of the report's finding, e.g. `xid`."""
    severity: str
    text: str


class ReplicaMeasure(Struct, kw_only=True):
    """What one run showed of one replica."""

    replica: int
    node: str
    devices: list[str]
    """Names and numbers of its devices; `cpu` without any."""
    samples: int = 0
    """Completed by it."""
    tokens_per_sample: float | None = None
    """Mean length of its answers."""
    tokens_per_s: float | None = None
    """Output tokens/s in the middle of the run; None: too few samples."""
    ttft_ms: float | None = None
    """At the percentile of the scenario's limits."""
    tpot_ms: float | None = None
    """At the same percentile."""
    tpot_ms_p50: float | None = None
    sm_clock_mhz: float | None = None
    """Mean while LoadGen's test ran, as the next two."""
    power_w: float | None = None
    temperature_c: float | None = None
    died: str = ""
    """Why the coordinator fenced it; empty: it was not."""
    hardware: list[HardwareFact] = field(default_factory=list)


class QualifyRun(Struct, kw_only=True):
    """One run of a qualification."""

    phase: Phase
    members: list[int]
    """Numbers of the replicas that were started."""
    round: int
    """Counts runs of the same phase and members, from 0."""
    run: str
    """Name of its folder."""
    seconds: float
    """From its start to its end, loading included."""
    rate: float | None = None
    """Server: arrival rate in queries/s of all its replicas."""
    percentile: float | None = None
    """Server: of the latency limits, 0 to 1."""
    ttft_limit_ms: float | None = None
    tpot_limit_ms: float | None = None
    measures: list[ReplicaMeasure] = field(default_factory=list)
    """By replica."""
    problems: list[str] = field(default_factory=list)
    """What failed in the whole run, such as lost samples."""


class OddAnswers(Struct, kw_only=True):
    """A replica whose answers differ from those of the others."""

    replica: int
    node: str
    text: str


class CheckResult(Struct, kw_only=True):
    """One check of a replica or of a node."""

    name: str
    outcome: Outcome
    reason: str
    """In one sentence, with the value and the limit."""
    value: float | None = None
    limit: float | None = None
    unit: str = ""


class ReplicaResult(Struct, kw_only=True):
    """The result of one replica."""

    replica: int
    node: str
    devices: list[str]
    outcome: Literal["passed", "failed"]
    checks: list[CheckResult]
    alone_tokens_per_s: float | None = None
    """Median of its Offline runs alone on its node."""
    all_tokens_per_s: float | None = None
    """Median of its Offline runs together with all others."""
    history: list["HistoryPoint"] = field(default_factory=list)
    """Earlier qualifications, the oldest first."""


class HistoryPoint(Struct, kw_only=True):
    """The speed of a replica in an earlier qualification."""

    started: str
    tokens_per_s: float


class NodeResult(Struct, kw_only=True):
    """The result of one node."""

    node: str
    outcome: Literal["passed", "failed"]
    replicas: int
    failed: list[int]
    """Replicas of it that failed."""
    checks: list[CheckResult]


class Qualification(Struct, kw_only=True):
    """A qualification in its current state."""

    command: list[str]
    started: str
    """UTC, ISO 8601."""
    status: Status = "running"
    settings: dict[str, Json] = field(default_factory=dict)
    """Options that decide speed; only runs with equal ones are compared."""
    tolerance: float = 0.05
    samples: int = 0
    """Of each replica in an Offline run."""
    rate: float | None = None
    """Server: arrival rate of each replica in queries/s."""
    runs: list[QualifyRun] = field(default_factory=list)
    odd_answers: list[OddAnswers] | None = None
    """None: answers were not compared."""
    answer_pairs: int = 0
    """Pairs of answers to the same prompt that were compared."""
    replicas: list[ReplicaResult] = field(default_factory=list)
    nodes: list[NodeResult] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What failed in whole runs."""
    notes: list[str] = field(default_factory=list)

    def of(self, phase: Phase) -> list[QualifyRun]:
        """Return the runs of a phase."""
        return [run for run in self.runs if run.phase == phase]


def read_qualification(root: Path) -> Qualification:
    """Return the record in the folder `root`.

    Raises:
        RecordError: it is missing or damaged.
    """
    return read_json(root / NAME, Qualification)
