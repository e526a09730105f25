"""What the record of one run shows of the resources that it used."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from forecast.limits import Samples
from forecast.measures import measures
from record.folder import RunFolder, read_json, read_lines
from record.steps import STEP, Steps, read_steps
from record.structs import (
    DeviceLine,
    EngineLine,
    HostLine,
    ReplicaRecord,
    SampleRecord,
    TelemetryLine,
)

Line = TypeVar("Line")
CPU = "cpu"
"""What a replica without a GPU has in its list of devices."""
_FEWEST_STEPS = 5
"""Steps of a kind on both sides, below which they are not compared."""


@dataclass(slots=True, kw_only=True)
class Signals:
    """Use of resources in the first seconds of a run, from its own record."""

    devices: frozenset[str] = frozenset()
    """GPUs by node and UUID; also devices that synthetic engines share by name."""
    servers: frozenset[str] = frozenset()
    """Addresses of the servers that answer; empty: the engine is in the replica."""
    nodes: frozenset[str] = frozenset()
    cores: frozenset[str] = frozenset()
    """Cores that its replicas may use, by node and number."""
    steps: Steps = field(default_factory=lambda: np.zeros(0, STEP))
    host_cpu_pct: float | None = None
    """Mean share of the processors of the busiest host in use."""
    process_cpu_pct: float | None = None
    """Mean processor time of all processes of the run; 100 is one core."""
    kv_used: float | None = None
    """95th percentile of the share of the KV cache in use, of the fullest replica."""
    preempted: int = 0
    """Requests whose cache was freed."""
    sm_clock_mhz: float | None = None
    """Mean of its GPUs."""
    utilization_pct: float | None = None
    """Mean of its GPUs, by all processes on them."""


@dataclass(slots=True, kw_only=True)
class RunData:
    """The parts of a run folder that a corun reads."""

    folder: RunFolder
    samples: list[SampleRecord]
    """Completed ones."""
    begin_ns: int
    """When the first sample was issued."""

    @property
    def length_s(self) -> float:
        """From the first sample's issue to the last one's end."""
        ends = [s.completed_ns for s in self.samples if s.completed_ns is not None]
        return (max(ends) - self.begin_ns) / 1e9


def read_run_data(path: Path) -> RunData | None:
    """Return the data of the run in the folder `path`; None if nothing completed.

    Raises:
        RecordError: a file is missing or damaged.
    """
    folder = RunFolder(path)
    lines: Iterable[SampleRecord] = read_lines(folder.samples, SampleRecord)
    samples = [s for s in lines if s.status == "completed" and s.completed_ns]
    if len(samples) < 2:
        return None
    begin = min(sample.issued_ns for sample in samples)
    return RunData(folder=folder, samples=samples, begin_ns=begin)


def figures(data: RunData, window_s: float, streamed: bool) -> dict[str, float]:
    """Return throughput and latencies in the first `window_s` of a run.

    Throughput is of the samples that ended in it, latency of those issued in it.
    """
    end_ns = data.begin_ns + round(window_s * 1e9)
    done = [s for s in data.samples if (s.completed_ns or 0) <= end_ns]
    found = {"tokens_per_s": sum(s.output_tokens for s in done) / window_s}
    issued = [s for s in data.samples if s.issued_ns <= end_ns]
    if streamed and len(issued) > 1:

        def seconds(values: Iterable[int | None]) -> NDArray[np.float64]:
            array = np.array([value or 0 for value in values], np.int64)
            return (array - data.begin_ns) / 1e9

        found |= {
            name: value
            for name, value in measures(
                Samples(
                    issued=seconds(s.issued_ns for s in issued),
                    first=seconds(s.first_token_ns for s in issued),
                    done=seconds(s.completed_ns for s in issued),
                    tokens=np.array([s.output_tokens for s in issued], float),
                )
            ).items()
            if name.startswith(("ttft", "tpot", "latency"))
        }
    return {name: value for name, value in found.items() if value > 0}


def read_signals(data: RunData, window_s: float) -> Signals:
    """Return the signals of the first `window_s` of a run.

    Raises:
        RecordError: a file is missing or damaged.
    """
    folder = data.folder
    replicas = read_json(folder.replicas, list[ReplicaRecord])
    devices = {
        f"{r.node} {device}" for r in replicas for device in r.devices if device != CPU
    }
    devices |= {
        str(r.engine["shared_device"])
        for r in replicas
        if r.engine.get("shared_device")
    }
    found = Signals(
        devices=frozenset(devices),
        servers=frozenset(str(r.engine["url"]) for r in replicas if "url" in r.engine),
        nodes=frozenset(r.node for r in replicas),
        cores=frozenset(f"{r.node} {core}" for r in replicas for core in r.cpus),
    )
    begin, end = data.begin_ns, data.begin_ns + round(window_s * 1e9)
    if folder.steps.exists():
        steps = read_steps(folder.steps)
        inside = (steps["start_ns"] >= begin) & (steps["start_ns"] < end)
        found.steps = np.array(steps[inside])
        found.preempted = int(found.steps["preempted"].sum())
    lines: Iterable[TelemetryLine] = read_lines(folder.telemetry, TelemetryLine)
    _add_telemetry(found, [line for line in lines if begin <= line.t_ns < end])
    return found


def _add_telemetry(found: Signals, lines: list[TelemetryLine]) -> None:
    hosts = [line for line in lines if isinstance(line, HostLine)]
    by_node = _grouped(hosts, lambda line: line.node, lambda line: line.host_cpu_pct)
    found.host_cpu_pct = max(map(_mean, by_node.values()), default=None)
    own = _grouped(hosts, lambda line: line.replica, lambda line: line.process_cpu_pct)
    found.process_cpu_pct = sum(map(_mean, own.values())) if own else None
    engines = [line for line in lines if isinstance(line, EngineLine)]
    caches = _grouped(engines, lambda line: line.replica, lambda line: line.kv_used)
    found.kv_used = max(
        (float(np.percentile(values, 95)) for values in caches.values()), default=None
    )
    devices = [line for line in lines if isinstance(line, DeviceLine)]
    clocks = [d.sm_clock_mhz for d in devices if d.sm_clock_mhz is not None]
    found.sm_clock_mhz = _mean(clocks) if clocks else None
    used = [d.utilization_pct for d in devices if d.utilization_pct is not None]
    found.utilization_pct = _mean(used) if used else None


def _grouped(
    lines: Iterable[Line],
    key: Callable[[Line], object],
    value: Callable[[Line], float | None],
) -> dict[object, list[float]]:
    found: dict[object, list[float]] = {}
    for line in lines:
        if (number := value(line)) is not None:
            found.setdefault(key(line), []).append(number)
    return found


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def equal_work_ratio(before: Steps, after: Steps, *, decode: bool) -> float | None:
    """Return how much longer steps with the same work take in `after`.

    Steps are grouped by the logarithm of their work, in eighths of an octave. The
    result is the mean of the ratios of mean durations (of logarithms), weighted by the
    number of steps. Means, not medians: where engines take turns, some steps wait long
    and others not at all.

    Args:
        before: steps of the run alone.
        after: steps of the run together.
        decode: compare steps that only decode, by their sequences; else those that
            take in prompts, by their prompt tokens and sequences.

    Returns:
        None if too few steps have the same work.
    """
    ratios, weights = [], []
    one, other = _groups(before, decode=decode), _groups(after, decode=decode)
    for key in one.keys() & other.keys():
        first, second = one[key], other[key]
        count = min(len(first), len(second))
        if count >= _FEWEST_STEPS:
            ratios.append(np.log(second.mean() / first.mean()))
            weights.append(count)
    if not ratios:
        return None
    return float(np.exp(np.average(ratios, weights=weights)))


def _groups(steps: Steps, *, decode: bool) -> dict[int, NDArray[np.int64]]:
    prefill, sequences = steps["prefill_tokens"], steps["decode_sequences"]
    chosen = (prefill == 0) & (sequences > 0) if decode else prefill > 0
    work = (sequences if decode else prefill + sequences)[chosen].astype(float)
    keys = np.round(8 * np.log2(np.maximum(work, 1))).astype(int)
    durations = np.maximum(steps["duration_ns"][chosen], 1)
    return {int(key): durations[keys == key] for key in np.unique(keys)}
