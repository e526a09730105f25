"""A small simulator of replicas, independent of the code under test.

Each replica is a queue in front of an engine (`engine.py`): a step takes
`base + per_prompt_token * prefill tokens + per_sequence * running` seconds. Arrivals
are Poisson and dealt out in turn. Noise: 2% per step, one step in 5,000 takes ten times
as long, 1% between devices, 1.5 points of utilization, 1% of the clock; clocks fall a
little as the load rises.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from record.steps import STEP
from report.timeline.grid import Readings
from report.timeline.series import Absence, Inputs, Requests
from report.timeline.steps import StepRecords
from tests.report.timeline.engine import SLICE_S, TOKENS, Engine, advance

SLOWER = ("throttled", "clock", "power", "gpu", "cold")
_BLOCK = 16
_DRAWS = 4096


@dataclass(slots=True, kw_only=True)
class Plant:
    """Something that goes wrong for a while."""

    kind: str
    begin_s: float
    end_s: float
    size: float
    """Factor of step time, of arrivals or of prompt length; seconds for the network
    and per step for a host; share of the KV cache that is left."""
    replicas: list[int] = field(default_factory=list)
    """Empty: all."""

    def on(self, t_s: float, replica: int) -> bool:
        """Return whether it acts on a replica at a time."""
        mine = not self.replicas or replica in self.replicas
        return mine and self.begin_s <= t_s < self.end_s


@dataclass(slots=True, kw_only=True)
class Cluster:
    """What is simulated."""

    seed: int
    replicas: int = 1
    hosts: int = 1
    seconds: float = 300.0
    load: float = 0.7
    base: float = 8.5e-3
    per_prompt_token: float = 10.5e-6
    per_sequence: float = 42e-6
    prompt: float = 830.0
    budget: int = 2048
    kv_tokens: int = 600_000
    plants: list[Plant] = field(default_factory=list)
    gpu: bool = True
    """Whether there is telemetry of GPUs."""
    steps: bool = False
    """Whether there are step records."""
    offline: bool = False
    """All requests at once, and as many as a replica serves in the time."""
    asynchronous: bool = False
    """Whether the host's time between steps is part of their recorded durations."""

    @property
    def kv_need(self) -> float:
        """Tokens in a replica's KV cache, about, while all is well."""
        rate = self.load * self.capacity
        step = self.base / (1 - self.load)
        return rate * TOKENS * step * (self.prompt + TOKENS)

    @property
    def capacity(self) -> float:
        """Requests per second at which a replica would be busy all the time."""
        prefill = self.prompt * (self.per_prompt_token + self.base / self.budget)
        return 1 / (prefill + TOKENS * self.per_sequence)


def even(seed: int, replicas: int = 1, hosts: int = 1, seconds: float = 300) -> Cluster:
    """Return a cluster with random parameters in which nothing goes wrong.

    Every other seed has step records, half of these with asynchronous scheduling.
    """
    draw = np.random.default_rng([seed, 7])
    return Cluster(
        seed=seed,
        replicas=replicas,
        hosts=hosts,
        seconds=seconds,
        steps=seed % 2 == 1,
        asynchronous=seed % 4 == 1,
        load=float(draw.uniform(0.4, 0.85)),
        base=float(draw.uniform(6e-3, 12e-3)),
        per_prompt_token=float(draw.uniform(8e-6, 14e-6)),
        per_sequence=float(draw.uniform(25e-6, 50e-6)),
        prompt=float(draw.uniform(600, 1000)),
    )


Advance = Callable[[Engine, list[np.ndarray]], tuple[int, list[Any]]]
"""Runs an engine on columns; returns the number of steps and the columns, filled."""


class _Rows(list[list[float]]):
    """Rows that come into being when they are first used, in order."""

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, int) and place == len(self):
            self.append([0.0] * 9)
        return super().__getitem__(place)


def interpreted(engine: Engine, columns: list[np.ndarray]) -> tuple[int, list[Any]]:
    """Run an engine without a compiler."""
    filled = [*(column.tolist() for column in columns[:-1]), _Rows()]
    return advance(engine, *filled), filled


def simulate(cluster: Cluster, run: Advance = interpreted) -> Inputs:
    """Return what a run of this cluster would have recorded."""
    draw = np.random.default_rng(cluster.seed)
    arrived = _arrivals(cluster, draw)
    prompts = np.clip(draw.lognormal(0, 0.42, len(arrived)), 0.2, 3.0) * cluster.prompt
    prompts /= np.exp(0.42**2 / 2)
    longer = _factor(cluster, "prompts", arrived)
    prompts = (prompts * longer).astype(np.int64)
    owner = _deal(cluster, arrived)
    first, completed = np.full(len(arrived), np.nan), np.full(len(arrived), np.nan)
    readings: dict[str, list[np.ndarray]] = {}
    records: list[np.ndarray] = []
    for replica in range(cluster.replicas):
        own = np.flatnonzero(owner == replica)
        engine = _Replica(cluster, replica, draw, run)
        first[own], completed[own] = engine.serve(arrived[own], prompts[own])
        records.append(engine.records())
        for name, value in engine.telemetry(draw).items():
            readings.setdefault(name, []).append(value)
    outside = draw.gamma(4, 1e-3, len(arrived))
    for plant in cluster.plants:
        if plant.kind == "network":
            hit = [plant.on(t, r) for t, r in zip(arrived, owner, strict=True)]
            delay = np.where(hit, plant.size, 0.0)
            outside += delay
            first, completed = first + delay / 2, completed + delay
    number = len(readings["running"][0])
    seconds = np.tile(np.arange(number) + 0.5, cluster.replicas)
    owners = np.repeat(np.arange(cluster.replicas), number)
    return Inputs(
        requests=Requests(
            replica=owner,
            arrived=arrived - arrived[0],
            first=first - arrived[0],
            completed=completed - arrived[0],
            prompt_tokens=prompts,
            output_tokens=np.full(len(arrived), TOKENS),
            outside=outside,
        ),
        names=[f"replica {i}" for i in range(cluster.replicas)],
        host=np.arange(cluster.replicas) * cluster.hosts // cluster.replicas,
        hosts=[f"n{i + 1}" for i in range(cluster.hosts)],
        readings={
            name: Readings(t_s=seconds, replica=owners, value=np.concatenate(values))
            for name, values in readings.items()
        },
        absences=[
            Absence(
                replica=replica,
                begin_s=plant.begin_s,
                end_s=plant.end_s,
                cause="no heartbeat for 10 s",
            )
            for plant in cluster.plants
            if plant.kind == "fenced"
            for replica in plant.replicas
        ],
        steps=StepRecords(
            records=np.concatenate(records),
            begin_ns=int(arrived[0] * 1e9),
            numbers=list(range(cluster.replicas)),
        )
        if cluster.steps
        else None,
        poisson=not cluster.offline,
        streamed=not cluster.offline,
        ttft_limit_s=None if cluster.offline else 0.5,
        tpot_limit_s=None if cluster.offline else 0.03,
    )


def _arrivals(cluster: Cluster, draw: np.random.Generator) -> np.ndarray:
    if cluster.offline:
        each = int(0.9 * cluster.capacity * cluster.seconds)
        return np.zeros(each * cluster.replicas)
    rate = cluster.load * cluster.capacity * cluster.replicas
    most = max([1.0] + [p.size for p in cluster.plants if p.kind == "arrivals"])
    count = int(rate * most * cluster.seconds * 1.2) + 50
    times = np.cumsum(draw.exponential(1 / rate / most, count))
    times = times[times < cluster.seconds]
    kept = draw.uniform(0, most, len(times)) < _factor(cluster, "arrivals", times)
    return np.asarray(times[kept])


def _factor(cluster: Cluster, kind: str, t_s: np.ndarray) -> np.ndarray:
    factor = np.ones(len(t_s))
    for plant in cluster.plants:
        if plant.kind == kind:
            factor[(t_s >= plant.begin_s) & (t_s < plant.end_s)] = plant.size
    return factor


def _deal(cluster: Cluster, arrived: np.ndarray) -> np.ndarray:
    """Return who answers each request: in turn, without the replicas that are away."""
    owner = np.arange(len(arrived)) % cluster.replicas
    for plant in cluster.plants:
        if plant.kind == "fenced":
            hit = np.isin(owner, plant.replicas)
            hit &= (arrived >= plant.begin_s) & (arrived < plant.end_s)
            others = [r for r in range(cluster.replicas) if r not in plant.replicas]
            owner[hit] = np.array(others)[np.arange(hit.sum()) % len(others)]
    return owner


class _Replica:
    """One replica and what it records."""

    def __init__(
        self, cluster: Cluster, replica: int, draw: np.random.Generator, run: Advance
    ) -> None:
        self.cluster, self.replica, self.advance = cluster, replica, run
        noise = np.exp(draw.normal(0, 0.02, _DRAWS))
        noise[draw.random(_DRAWS) < 1 / 5000] *= 10
        self.noise = noise * draw.normal(1, 0.01)
        self.slices = int(cluster.seconds / SLICE_S)
        self.steps = np.zeros((0, 9))

    def serve(
        self, arrived: np.ndarray, prompts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return when each request had its first token and when it was completed."""
        cluster, count = self.cluster, len(arrived)
        engine = Engine(
            base=cluster.base,
            per_prompt_token=cluster.per_prompt_token,
            per_sequence=cluster.per_sequence,
            budget=cluster.budget,
            kv_tokens=float(cluster.kv_tokens),
            max_seqs=512,
            asynchronous=cluster.asynchronous,
        )
        # Each step serves a request or more, and is at least its base long.
        room = int(3 * cluster.seconds / cluster.base) + 2 * TOKENS
        whole = np.int64
        columns = [
            arrived,
            prompts.astype(whole),
            self.noise,
            *self._tables(),
            np.zeros((TOKENS, 512), whole),
            np.zeros(TOKENS, whole),
            prompts.astype(whole),
            np.full(count, TOKENS - 1, whole),
            *(np.zeros(count, whole) for _ in range(3)),
            np.zeros(4 * count + 1024, whole),
            np.full(count, np.nan),
            np.full(count, np.nan),
            np.zeros((room, 9)),
        ]
        number, filled = self.advance(engine, columns)
        first, completed, steps = filled[-3:]
        self.steps = np.asarray(steps[:number])
        return np.asarray(first), np.asarray(completed)

    def _tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return factor of a step, gap after it and share of the KV cache, by time."""
        t_s = np.arange(self.slices) * SLICE_S
        factor, gap, room = (np.full(self.slices, v) for v in (1.0, 0.0, 1.0))
        for plant in self.cluster.plants:
            if plant.replicas and self.replica not in plant.replicas:
                continue
            on = (plant.begin_s <= t_s) & (t_s < plant.end_s)
            if plant.kind in SLOWER:
                factor[on] *= plant.size
            elif plant.kind == "drift":
                line = (t_s - plant.begin_s) / (plant.end_s - plant.begin_s)
                factor[on] *= 1 + (plant.size - 1) * line[on]
            elif plant.kind == "host":
                gap[on] += plant.size
            elif plant.kind == "kv":
                room[on] = plant.size
        return factor, gap, room

    def records(self) -> np.ndarray:
        """Return the step records, without those that no request was left for."""
        found = np.zeros(len(self.steps), STEP)
        start, _, duration, prefill, decode, running, waiting, kv, lost = self.steps.T
        found["start_ns"] = np.round(start * 1e9)
        found["duration_ns"] = np.round(duration * 1e9)
        found["prefill_tokens"], found["decode_sequences"] = prefill, decode
        found["running"], found["waiting"] = running, waiting
        free = self.cluster.kv_tokens * self._room(start) - kv
        found["kv_blocks_free"] = np.maximum(0, free) // _BLOCK
        found["replica"], found["preempted"] = self.replica, lost
        return found

    def _room(self, t_s: np.ndarray) -> np.ndarray:
        place = np.minimum((t_s / SLICE_S).astype(int), self.slices - 1)
        return np.asarray(self._tables()[2][place])

    def telemetry(self, draw: np.random.Generator) -> dict[str, np.ndarray]:
        """Return one value a second of each measure."""
        number = int(self.cluster.seconds)
        t_s = np.arange(number) + 0.5
        start, gpu, _, _, _, running, waiting, kv, _ = self.steps.T
        last = np.maximum(np.searchsorted(start, t_s) - 1, 0)
        used = kv[last] / self.cluster.kv_tokens / self._room(start[last])
        values = {
            "running": running[last],
            "waiting": waiting[last],
            "kv_used": np.minimum(used, 1.0),
        }
        if not self.cluster.gpu:
            return values
        edges = np.stack([start, start + gpu], axis=1).ravel()
        work = np.repeat(np.cumsum(gpu), 2)
        work[::2] -= gpu
        busy = 100 * np.diff(np.interp(np.arange(number + 1), edges, work))
        util = np.clip(busy - np.abs(draw.normal(0, 1.5, number)), 0, 100)
        clock = 1980 - 2.0 * busy * draw.uniform(0.97, 1.03, number)
        clock *= draw.normal(1, 0.01, number)
        bits, power = np.full(number, 4.0), 250 + 4.3 * util
        if any(plant.kind == "power" for plant in self.cluster.plants):
            bits[:] = 0
        for plant in self.cluster.plants:
            on = np.array([plant.on(t, self.replica) for t in t_s])
            if plant.kind in ("throttled", "clock", "power"):
                clock[on] /= plant.size
            if plant.kind == "throttled":
                bits[on] = 0x40
            if plant.kind == "power":
                bits[on], power[on] = 4, power[on] / plant.size
        return values | {
            "utilization_pct": np.round(util),
            "sm_clock_mhz": np.round(clock),
            "power_w": power,
            "throttle_reasons": bits,
        }
