"""The work of each node and of each replica: the rows of the symmetry tables."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from record.structs import Json
from report.figures import Column
from report.reading.run import Run
from report.reading.samples import FloatArray, Samples, join
from report.reading.telemetry import Readings
from report.statistics.busy import busy_s
from report.statistics.comparison import GroupComparison
from report.statistics.numbers import MS, gib, mean, percentile, ratio, rounded


@dataclass
class Group:
    """A node or a replica, with its samples."""

    name: str
    node: str
    replicas: list[int]
    parts: list[Samples]
    """Completed samples of each of its replicas."""
    done: Samples
    """Completed samples of all its replicas."""
    lost: Samples
    all_prompt_tokens: float
    """Prompt tokens of all samples of the run."""
    all_output_tokens: float
    """Output tokens of all completed samples of the run."""
    memory_bytes: float | None

    @cached_property
    def issued(self) -> int:
        """Samples whose last attempt was dispatched to the group."""
        return len(self.done) + len(self.lost)

    @property
    def success_pct(self) -> float | None:
        """Completed / issued, in percent."""
        return ratio(100.0 * len(self.done), self.issued)

    def rate(self, work: Callable[[Samples], float]) -> float | None:
        """Return work / seconds with work, summed over the group's replicas."""
        return rounded(
            sum(
                work(part) / seconds
                for part in self.parts
                if (seconds := busy_s(part)) > 0
            )
        )


def groups(run: Run, comparison: GroupComparison) -> list[Group]:
    """Return the groups of a comparison, in its order."""
    memory = _peak_memory(run.telemetry.devices)
    found = []
    for name, replicas in zip(comparison.names, comparison.groups, strict=True):
        parts = [run.by_replica[replica] for replica in replicas]
        found.append(
            Group(
                name=name,
                node=run.node_of[replicas[0]],
                replicas=replicas,
                parts=parts,
                done=join(parts),
                lost=run.lost.where(np.isin(run.lost.replica, replicas)),
                all_prompt_tokens=float(run.samples.prompt_tokens.sum()),
                all_output_tokens=float(run.done.output_tokens.sum()),
                memory_bytes=sum(memory.get(r, 0.0) for r in replicas) or None,
            )
        )
    return found


def _peak_memory(devices: Readings) -> dict[int, float]:
    """Return the most bytes in use on each replica's devices together."""
    peaks: dict[tuple[int, str], float] = {}
    used = devices.values["memory_used_bytes"]
    for replica, device, value in zip(
        devices.replica.tolist(), devices.device, used.tolist(), strict=True
    ):
        if value == value:
            key = (replica, device)
            peaks[key] = max(value, peaks.get(key, 0.0))
    total: dict[int, float] = {}
    for (replica, _), value in peaks.items():
        total[replica] = total.get(replica, 0.0) + value
    return total


def _percentile(
    name: str, percent: float, values: Callable[[Samples], FloatArray], definition: str
) -> Column[Group]:
    return Column(
        name, "ms", definition, lambda g: percentile(values(g.done), percent, MS)
    )


def _prompt_tokens(group: Group) -> float:
    return float(group.done.prompt_tokens.sum() + group.lost.prompt_tokens.sum())


def _output_tokens(samples: Samples) -> float:
    return float(samples.output_tokens.sum())


def _token_speed(group: Group) -> Json:
    return mean(group.done.output_tokens / group.done.service_ns, 1e-9)


_P99 = "99th percentile, computed as in LoadGen"
_ISSUED = Column[Group](
    "issued",
    "samples",
    "samples whose last attempt went to it: completed or lost",
    lambda g: g.issued,
)
SAMPLE_RATE = Column[Group](
    "samples/s",
    "samples/s",
    "completed samples / seconds in which it had work, summed over its replicas",
    lambda g: g.rate(lambda part: float(len(part))),
)
TOKEN_RATE = Column[Group](
    "tokens/s",
    "tokens/s",
    "output tokens / seconds in which it had work, summed over its replicas",
    lambda g: g.rate(_output_tokens),
)
TOKEN_SPEED = Column[Group](
    "tokens/s per sample",
    "tokens/s",
    "mean of output tokens / service latency of its samples",
    _token_speed,
)
SERVICE_MEAN = Column[Group](
    "service mean",
    "ms",
    "mean service latency: dispatch to completion",
    lambda g: mean(g.done.service_ns, MS),
)
TTFT = _percentile(
    "TTFT p50", 50, lambda s: s.ttft_ns, "issue to first token, where streamed; median"
)
TPOT = _percentile(
    "TPOT p50",
    50,
    lambda s: s.tpot_ns,
    "(completion - first token) / (output tokens - 1); median",
)
MEMORY = Column[Group](
    "memory",
    "GiB",
    "most memory in use on its devices; on a CPU: by the process",
    lambda g: gib(g.memory_bytes),
)
WORK = [
    _ISSUED,
    Column[Group](
        "completed", "samples", "samples that it completed", lambda g: len(g.done)
    ),
    Column[Group]("success", "%", "completed / issued", lambda g: g.success_pct),
    Column[Group](
        "share given",
        "%",
        "share of all prompt tokens that were dispatched",
        lambda g: ratio(100 * _prompt_tokens(g), g.all_prompt_tokens),
        "share of prompt tokens",
    ),
    Column[Group](
        "share done",
        "%",
        "share of all output tokens",
        lambda g: ratio(100 * _output_tokens(g.done), g.all_output_tokens),
        "share of output tokens",
    ),
    SAMPLE_RATE,
    TOKEN_RATE,
    TOKEN_SPEED,
    SERVICE_MEAN,
    _percentile("service p50", 50, lambda s: s.service_ns, "median service latency"),
    _percentile("service p99", 99, lambda s: s.service_ns, _P99),
    TTFT,
    _percentile("TTFT p99", 99, lambda s: s.ttft_ns, _P99),
    TPOT,
    _percentile("TPOT p99", 99, lambda s: s.tpot_ns, _P99),
    Column[Group](
        "prompt",
        "tokens",
        "mean prompt length",
        lambda g: mean(g.done.prompt_tokens.astype(float)),
    ),
    MEMORY,
]
"""Columns of the tables of nodes and of replicas."""
NODES: list[Column[Group]] = [
    Column("node", "", "host", lambda g: g.node),
    Column[Group]("replicas", "", "number of its replicas", lambda g: len(g.replicas)),
    *WORK,
]
REPLICAS: list[Column[Group]] = [
    Column("node", "", "host", lambda g: g.node),
    Column[Group]("replica", "", "number of the replica", lambda g: g.replicas[0]),
    *WORK,
]
