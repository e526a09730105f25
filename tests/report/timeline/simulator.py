"""A small simulator of replicas, independent of the code under test.

Each replica is a queue in front of an engine with continuous batching: a step takes
`base + per_prompt_token * prefill tokens + per_sequence * running` seconds, prompts are
prefilled in chunks of a token budget, and each running request makes one token a step.
Arrivals are Poisson and dealt out in turn. Noise: 2% per step, 1.5 points of
utilization, 1% of the clock; clocks fall a little as the load rises.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from report.timeline.series import Absence, Inputs, Readings, Requests

TOKENS = 128


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
    """Return a cluster with random parameters in which nothing goes wrong."""
    draw = np.random.default_rng([seed, 7])
    return Cluster(
        seed=seed,
        replicas=replicas,
        hosts=hosts,
        seconds=seconds,
        load=float(draw.uniform(0.4, 0.85)),
        base=float(draw.uniform(6e-3, 12e-3)),
        per_prompt_token=float(draw.uniform(8e-6, 14e-6)),
        per_sequence=float(draw.uniform(25e-6, 50e-6)),
        prompt=float(draw.uniform(600, 1000)),
    )


def simulate(cluster: Cluster) -> Inputs:
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
    for replica in range(cluster.replicas):
        own = np.flatnonzero(owner == replica)
        engine = _Engine(cluster, replica, draw)
        first[own], completed[own] = engine.run(arrived[own], prompts[own])
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
        poisson=True,
        ttft_limit_s=0.5,
        tpot_limit_s=0.03,
    )


def _arrivals(cluster: Cluster, draw: np.random.Generator) -> np.ndarray:
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


class _Engine:
    """One replica."""

    def __init__(
        self, cluster: Cluster, replica: int, draw: np.random.Generator
    ) -> None:
        self.cluster, self.replica = cluster, replica
        self.noise = np.exp(draw.normal(0, 0.02, 4096)).tolist()
        seconds = int(cluster.seconds) + 60
        self.busy = [0.0] * seconds
        self.level = [(0, 0, 0.0)] * seconds

    def run(
        self, arrived: np.ndarray, prompts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return when each request had its first token and when it was completed."""
        cluster, noise, budget = self.cluster, self.noise, self.cluster.budget
        times, lengths = arrived.tolist(), prompts.tolist()
        first, completed = [np.nan] * len(times), [np.nan] * len(times)
        ring: list[list[int]] = [[] for _ in range(TOKENS)]
        waiting: deque[int] = deque()
        now, step, running, arrived_to, kv, left = 0.0, 0, 0, 0, 0, 0
        open_requests, last = 0, len(times)
        slow = self._slowness()
        while arrived_to < last or open_requests:
            while arrived_to < last and times[arrived_to] <= now:
                waiting.append(arrived_to)
                arrived_to += 1
                open_requests += 1
            if not waiting and not running:
                now = times[arrived_to]
                continue
            factor, gap, room = slow(now)
            starting: list[int] = []
            chunk, prefill = min(budget - running, 8192), 0
            while waiting and prefill < chunk and running + len(starting) < 512:
                one = waiting[0]
                if not left:
                    if kv + lengths[one] + TOKENS > room * cluster.kv_tokens:
                        break
                    left, kv = lengths[one], kv + lengths[one] + TOKENS
                part = min(left, chunk - prefill)
                prefill, left = prefill + part, left - part
                if left:
                    break
                starting.append(waiting.popleft())
            took = factor * (
                cluster.base
                + cluster.per_prompt_token * prefill
                + cluster.per_sequence * running
            )
            took *= noise[step % 4096]
            self._note(now, took, running, len(waiting), kv)
            now += took + gap
            step += 1
            ending = ring[step % TOKENS]
            for one in ending:
                completed[one] = now
                kv -= lengths[one] + TOKENS
            running -= len(ending)
            open_requests -= len(ending)
            ending.clear()
            for one in starting:
                first[one] = now
            ring[(step - 1) % TOKENS].extend(starting)
            running += len(starting)
        return np.array(first), np.array(completed)

    def _slowness(self) -> Callable[[float], tuple[float, float, float]]:
        """Return factor of a step, gap after it and share of the KV cache, by time."""
        acting = [
            plant
            for plant in self.cluster.plants
            if not plant.replicas or self.replica in plant.replicas
        ]
        seconds = self.cluster.seconds

        def at(t_s: float) -> tuple[float, float, float]:
            factor, gap, room = 1.0, 0.0, 1.0
            for plant in acting:
                if not plant.begin_s <= t_s < plant.end_s:
                    continue
                if plant.kind in ("throttled", "clock", "gpu", "cold"):
                    factor *= plant.size
                elif plant.kind == "drift":
                    factor *= 1 + (plant.size - 1) * t_s / seconds
                elif plant.kind == "host":
                    gap += plant.size
                elif plant.kind == "kv":
                    room = plant.size
            return factor, gap, room

        return at

    def _note(
        self, now: float, took: float, running: int, waiting: int, kv: int
    ) -> None:
        second = int(now)
        if second < len(self.busy):
            self.level[second] = (running, waiting, kv / self.cluster.kv_tokens)
        # A step is short against a second: it is booked where it begins and ends.
        end = now + took
        while now < end and int(now) < len(self.busy):
            until = min(end, int(now) + 1.0)
            self.busy[int(now)] += until - now
            now = until

    def telemetry(self, draw: np.random.Generator) -> dict[str, np.ndarray]:
        """Return one value a second of each measure."""
        number = int(self.cluster.seconds)
        t_s = np.arange(number) + 0.5
        level = np.array(self.level[:number], float)
        values = {
            "running": level[:, 0],
            "waiting": level[:, 1],
            "kv_used": level[:, 2].copy(),
        }
        for plant in self.cluster.plants:
            if plant.kind == "kv":
                on = np.array([plant.on(t, self.replica) for t in t_s])
                values["kv_used"][on] /= plant.size
        if not self.cluster.gpu:
            return values
        busy = 100 * np.minimum(1, np.array(self.busy[:number]))
        util = np.clip(busy - np.abs(draw.normal(0, 1.5, number)), 0, 100)
        clock = 1980 - 2.0 * busy * draw.uniform(0.97, 1.03, number)
        clock *= draw.normal(1, 0.01, number)
        bits = np.full(number, 4.0)
        for plant in self.cluster.plants:
            on = np.array([plant.on(t, self.replica) for t in t_s])
            if plant.kind in ("throttled", "clock"):
                clock[on] /= plant.size
            if plant.kind == "throttled":
                bits[on] = 0x40
        return values | {
            "utilization_pct": np.round(util),
            "sm_clock_mhz": np.round(clock),
            "power_w": 250 + 4.3 * util,
            "throttle_reasons": bits,
        }
