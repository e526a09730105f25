"""Simulates a cluster step by step and writes the run folder that it would leave.

Continuous batching as vLLM does it: each engine step takes in prompts under a token
budget and makes one token for every running sample. Noise is what real runs show:
prompt lengths of a heavy-tailed distribution, steps with log-normal noise and rare
long ones, devices that differ by a percent, work handed out by demand (Offline) or
arrivals at random to the least loaded replica (Server).
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from record.folder import RunFolder
from record.structs import (
    DeviceLimits,
    DeviceLine,
    DeviceUse,
    EngineLine,
    EventRecord,
    HostLine,
    ReplicaRecord,
    SampleRecord,
    TelemetryLine,
)
from tests.run_folder import START_NS, FolderSpec, write_folder

TOKENS = 128
_BASE_CLOCK = 1980
_WAYSIDE_S = 0.0004


@dataclass(kw_only=True)
class Fault:
    """What is wrong with one replica."""

    slowdown: float = 1.0
    """Factor on every step."""
    clock: float = 1.0
    """Factor on the clock that telemetry shows, with nothing else to be seen."""
    throttled_from: float | None = None
    """Share of the run after which the device is too hot: clock and speed fall."""
    cold_s: float = 0.0
    """Seconds from the start in which steps take `cold_factor` as long."""
    cold_factor: float = 3.0
    way_s: float = 0.0
    """Added to the way there and back of each sample."""
    longer_prompts: float = 1.0
    contended: float = 0.0
    """Share of processor time taken by others."""
    neighbour: bool = False
    """Whether another process used the device before the replica loaded."""
    power_w: float = 350.0
    """Limit of the device."""
    dies_at: float | None = None
    """Share of the run after which the replica dies and leaves its samples lost."""


@dataclass(kw_only=True)
class Cluster:
    """A cluster and what it is asked to do."""

    nodes: int = 4
    per_node: int = 2
    seed: int = 0
    scenario: str = "offline"
    minutes: float = 10
    faults: dict[int, Fault] = field(default_factory=dict)
    """By replica."""
    step_s: float = 0.045
    prefill_s: float = 6.5e-5
    decode_s: float = 3.0e-4
    max_seqs: int = 48
    budget: int = 2048
    load: float = 0.75
    """Server: share of the cluster's capacity that arrives."""

    @property
    def replicas(self) -> int:
        return self.nodes * self.per_node

    def rate(self) -> float:
        """Return about how many samples/s one replica can do."""
        per_sample = (self.step_s * TOKENS / self.max_seqs) + 833 * self.prefill_s
        return 1 / (per_sample + TOKENS * self.decode_s)


@dataclass(slots=True)
class _Item:
    seq: int
    prompt: int
    output: int
    issued: float
    dispatched: float = 0.0
    arrived: float = 0.0
    scheduled: float = 0.0
    first: float = 0.0
    left: int = 0
    attempt: int = 1


class _Replica:
    def __init__(self, number: int, cluster: Cluster, rng: np.random.Generator) -> None:
        self.number, self.cluster, self.rng = number, cluster, rng
        self.fault = cluster.faults.get(number, Fault())
        self.speed = self.fault.slowdown * float(rng.normal(1, 0.01))
        self.waiting: deque[_Item] = deque()
        self.ending: dict[int, list[_Item]] = defaultdict(list)
        self.step = self.running = self.tokens = 0
        self.noise = iter(())  # type: Iterator[float]
        self.dead = False
        self.trail: list[tuple[float, int, int]] = []

    @property
    def busy(self) -> bool:
        return bool(self.running or self.waiting)

    def advance(self, now: float, span: float) -> tuple[float, list[_Item]]:
        """Do one step; return when it ends and which samples end with it."""
        budget = self.cluster.budget
        begun, prompts = [], 0
        while self.waiting and budget and self.running < self.cluster.max_seqs:
            item = self.waiting[0]
            if item.arrived > now:
                break
            if not item.scheduled:
                item.scheduled, item.left = now, item.prompt
            taken = min(budget, item.left)
            budget, item.left, prompts = (
                budget - taken,
                item.left - taken,
                prompts + taken,
            )
            if item.left:
                break
            begun.append(self.waiting.popleft())
            self.running += 1
        cost = (
            self.cluster.step_s
            + self.cluster.prefill_s * prompts
            + self.cluster.decode_s * self.running
        )
        end = now + cost * self.speed * self._factor(now, span) * self._luck()
        self.step += 1
        for item in begun:
            item.first = end
            self.ending[self.step + item.output - 1].append(item)
        done = self.ending.pop(self.step, [])
        self.running -= len(done)
        self.trail.append((end, self.running, len(self.waiting)))
        return end, done

    def _factor(self, now: float, span: float) -> float:
        fault, factor = self.fault, 1.0
        if fault.throttled_from is not None and now > fault.throttled_from * span:
            factor *= 1.3
        if now < fault.cold_s:
            factor *= fault.cold_factor
        if fault.contended:
            factor *= 1 + fault.contended * self.rng.exponential(1.0)
        return factor

    def _luck(self) -> float:
        value = next(self.noise, None)
        if value is None:
            draws = np.exp(self.rng.normal(0, 0.05, 4096))
            rare = self.rng.random(4096) < 0.001
            draws[rare] *= 1 + self.rng.pareto(2.5, int(rare.sum())) * 5
            self.noise = iter(draws.tolist())
            value = next(self.noise)
        return float(value)


def prompt_lengths(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return lengths like those of CNN/DailyMail: median 765, mean 833, up to 2,267."""
    return np.clip(rng.lognormal(np.log(765), 0.44, count), 141, 2267).astype(int)


def simulate(cluster: Cluster) -> FolderSpec:
    """Return the run of `cluster`."""
    rng = np.random.default_rng(cluster.seed)
    replicas = [_Replica(i, cluster, rng) for i in range(cluster.replicas)]
    span = cluster.minutes * 60
    records, events = _run(cluster, replicas, rng, span)
    streaming = cluster.scenario != "offline"
    end = max(s.completed_ns or 0 for s in records)
    tokens = sum(s.output_tokens for s in records)
    wall_s = (end - START_NS) / 1e9
    last = max(records, key=lambda s: s.seq).completed_ns if streaming else end
    counted_s = ((last or end) - START_NS) / 1e9
    rate = (
        "result_completed_tokens_per_second"
        if streaming
        else "result_tokens_per_second"
    )
    return FolderSpec(
        scenario=cluster.scenario,
        streaming=streaming,
        replicas=cluster.replicas,
        samples=records,
        events=events,
        telemetry=list(_telemetry(cluster, replicas, rng, wall_s)),
        records=[_record(cluster, i, rng) for i in range(cluster.replicas)],
        log={
            "result_validity": "VALID",
            "result_query_count": len(records) if streaming else 1,
            "generated_samples_per_query": 1 if streaming else len(records),
            "requested_use_token_latencies": True,
            "effective_sample_concatenate_permutation": True,
            rate: tokens / counted_s,
        },
    )


def write_cluster(path: Path, cluster: Cluster) -> RunFolder:
    """Write the run folder of `cluster`."""
    return write_folder(path, simulate(cluster))


def _run(
    cluster: Cluster,
    replicas: list[_Replica],
    rng: np.random.Generator,
    span: float,
) -> tuple[list[SampleRecord], list[EventRecord]]:
    offline = cluster.scenario == "offline"
    expected = cluster.rate() * cluster.replicas
    count = int(expected * (1 if offline else cluster.load) * span)
    lengths = prompt_lengths(rng, count).tolist()
    outputs = np.where(rng.random(count) < 0.9, TOKENS, rng.integers(40, TOKENS, count))
    arrivals = (
        np.zeros(count) if offline else _from_zero(np.sort(rng.uniform(0, span, count)))
    ).tolist()
    pool = deque(
        _Item(i, lengths[i], int(outputs[i]), arrivals[i]) for i in range(count)
    )
    done: list[SampleRecord] = []
    events: list[EventRecord] = []
    queue: list[tuple[float, int]] = []
    if offline:
        queue = [(0.0, r.number) for r in replicas]
    idle = set() if offline else {r.number for r in replicas}
    loads = np.zeros(len(replicas))

    def hand(item: _Item, replica: _Replica, now: float) -> None:
        item.dispatched = now
        item.arrived = now + replica.fault.way_s / 2 + _WAYSIDE_S / 2
        if replica.fault.longer_prompts != 1.0:
            item.prompt = min(2267, int(item.prompt * replica.fault.longer_prompts))
        loads[replica.number] += item.output
        replica.waiting.append(item)

    while queue or (not offline and pool):
        if not offline and pool and (not queue or pool[0].issued <= queue[0][0]):
            item = pool.popleft()
            alive = [r.number for r in replicas if not r.dead]
            chosen = replicas[min(alive, key=lambda n: loads[n])]
            hand(item, chosen, item.issued + 0.0002)
            if chosen.number in idle:
                idle.discard(chosen.number)
                heapq.heappush(queue, (item.arrived, chosen.number))
            continue
        now, number = heapq.heappop(queue)
        replica = replicas[number]
        if _dies(replica, now, span):
            _bury(replica, now, done, events, pool, offline)
            continue
        if offline:
            room = cluster.max_seqs - replica.running - len(replica.waiting)
            ahead = sum(item.prompt for item in replica.waiting)
            while (
                pool
                and (room > 0 or ahead < 4 * cluster.budget)
                and ahead < 4 * cluster.budget
            ):
                item = pool.popleft()
                hand(item, replica, now)
                item.arrived = now
                ahead, room = ahead + item.prompt, room - 1
        if not replica.busy:
            if not offline:
                idle.add(number)
            continue
        if not replica.running and replica.waiting[0].arrived > now:
            heapq.heappush(queue, (replica.waiting[0].arrived, number))
            continue
        end, ended = replica.advance(now, span)
        for item in ended:
            loads[number] -= item.output
            done.append(_completed(cluster, item, replica, end))
        heapq.heappush(queue, (end, number))
    done.sort(key=lambda s: s.completed_ns or START_NS + 2**62)
    return done, events


def _from_zero(times: np.ndarray) -> np.ndarray:
    """Return times since the first, as LoadGen schedules the first query at once."""
    return np.asarray(times - times[0])


def _dies(replica: _Replica, now: float, span: float) -> bool:
    at = replica.fault.dies_at
    return at is not None and now > at * span


def _bury(
    replica: _Replica,
    now: float,
    done: list[SampleRecord],
    events: list[EventRecord],
    pool: deque[_Item],
    offline: bool,
) -> None:
    replica.dead = True
    held = [item for items in replica.ending.values() for item in items]
    t_ns = START_NS + int(now * 1e9)
    node = _node(replica.cluster, replica.number)
    place: dict[str, Any] = {"t_ns": t_ns, "node": node, "replica": replica.number}
    ended = "exit code -9"
    events.append(EventRecord(kind="death", cause=ended, **place))
    ended = f"its process ended ({ended})"
    events.append(EventRecord(kind="fence", cause=ended, **place))
    for item in held:
        done.append(replace_lost(_completed(replica.cluster, item, replica, now)))
    for item in reversed(replica.waiting):
        item.attempt, item.scheduled = item.attempt + 1, 0.0
        events.append(
            EventRecord(
                t_ns=t_ns,
                kind="retry",
                node=node,
                replica=replica.number,
                seq=item.seq,
                cause="its replica was fenced",
            )
        )
        pool.appendleft(item)
    replica.waiting.clear()
    replica.ending.clear()
    replica.running = 0


def replace_lost(record: SampleRecord) -> SampleRecord:
    """Return the sample as lost."""
    record.status, record.completed_ns, record.output_tokens = "lost", None, 0
    record.finish_reason = record.queue_ns = record.prefill_ns = None
    record.decode_ns = record.held_ns = None
    return record


def _completed(
    cluster: Cluster, item: _Item, replica: _Replica, end: float
) -> SampleRecord:
    streaming = cluster.scenario != "offline"
    back = replica.fault.way_s / 2 + _WAYSIDE_S / 2
    back *= float(replica.rng.lognormal(0, 0.3))

    def at(seconds: float) -> int:
        return START_NS + int(seconds * 1e9)

    return SampleRecord(
        seq=item.seq,
        qsl_index=item.seq % 13368,
        node=_node(cluster, replica.number),
        replica=replica.number,
        attempt=item.attempt,
        issued_ns=at(item.issued),
        dispatched_ns=at(item.dispatched),
        first_token_ns=at(item.first + back) if streaming else None,
        completed_ns=at(end + back),
        queue_ns=int((item.scheduled - item.arrived) * 1e9),
        prefill_ns=int((item.first - item.scheduled) * 1e9),
        decode_ns=int((end - item.first) * 1e9),
        held_ns=int((end - item.arrived) * 1e9),
        prompt_tokens=item.prompt,
        cached_tokens=0,
        output_tokens=item.output,
        finish_reason="length" if item.output == TOKENS else "stop",
        status="completed",
    )


def _node(cluster: Cluster, replica: int) -> str:
    return f"node{replica // cluster.per_node + 1:02d}"


def _record(cluster: Cluster, replica: int, rng: np.random.Generator) -> ReplicaRecord:
    warm = 0.9 * float(rng.lognormal(0, 0.05))
    fault = cluster.faults.get(replica, Fault())
    cold = fault.cold_s > 0
    return ReplicaRecord(
        replica=replica,
        node=_node(cluster, replica),
        pid=1000 + replica,
        devices=["NVIDIA L40S #0"],
        cpus=[replica],
        versions={"python": "3.11.7", "vllm": "0.32.0"},
        model={
            "layers": 32,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "attention_heads": 32,
            "kv_heads": 8,
            "vocab_size": 128256,
            "dtype": "bfloat16",
        },
        engine={"max_num_seqs": cluster.max_seqs, "kv_cache_tokens": 150_000},
        memory_bytes=40 * 2**30,
        load_s=60.0 + float(rng.normal(0, 2)),
        compile_s=25.0,
        warmup_s=8.0,
        first_request_s=warm * (3.0 if cold else 1.6),
        last_request_s=warm,
        limits=[
            DeviceLimits(
                device="gpu0",
                memory_bytes=48 * 2**30,
                sm_clock_mhz=2520,
                power_w=fault.power_w,
                link="PCIe gen4 x16",
            )
        ],
        before=[
            DeviceUse(device="gpu0", memory_used_bytes=724_369_408, utilization_pct=31)
            if fault.neighbour
            else DeviceUse(device="gpu0", memory_used_bytes=0, utilization_pct=0)
        ],
    )


def _telemetry(
    cluster: Cluster,
    replicas: list[_Replica],
    rng: np.random.Generator,
    wall_s: float,
) -> Iterator[TelemetryLine]:
    for replica in replicas:
        fault, switches = replica.fault, 0
        times = np.array([t for t, _, _ in replica.trail] or [0.0])
        for second in range(int(wall_s)):
            t_ns = START_NS + int((second + rng.random() * 0.1) * 1e9)
            place = min(int(np.searchsorted(times, second)), len(times) - 1)
            if replica.dead and second > times[-1]:
                break
            _, running, waiting = replica.trail[place]
            who: dict[str, Any] = {"t_ns": t_ns, "node": _node(cluster, replica.number)}
            hot = (
                fault.throttled_from is not None
                and second > fault.throttled_from * cluster.minutes * 60
            )
            clock = _BASE_CLOCK * fault.clock * (0.76 if hot else 1.0)
            yield EngineLine(
                **who,
                replica=replica.number,
                running=running,
                waiting=waiting,
                kv_used=min(1.0, running / cluster.max_seqs * 0.6),
            )
            yield DeviceLine(
                **who,
                replica=replica.number,
                device="gpu0",
                memory_used_bytes=40 * 2**30 + int(rng.normal(0, 2**24)),
                memory_total_bytes=48 * 2**30,
                utilization_pct=float(np.clip(rng.normal(96, 3), 0, 100)),
                power_w=float(rng.normal(300 * fault.clock * (0.8 if hot else 1), 12)),
                temperature_c=float(rng.normal(88 if hot else 66, 1.5)),
                sm_clock_mhz=int(rng.normal(clock, 12)),
                memory_clock_mhz=9001,
                throttle_reasons=0x20
                if hot and rng.random() < 0.9
                else 4 * int(rng.random() < 0.3),
                ecc_errors=0,
            )
            calm = float(rng.lognormal(np.log(4), 0.8))
            switches += int(calm + fault.contended * rng.lognormal(np.log(2000), 0.4))
            yield HostLine(
                **who,
                replica=replica.number,
                process_cpu_pct=float(rng.normal(95, 4)),
                host_cpu_pct=float(
                    np.clip(
                        rng.normal(30 + 60 * min(1, fault.contended * 4), 8), 0, 100
                    )
                ),
                steal_pct=float(abs(rng.normal(0, 0.1))),
                involuntary_switches=switches,
            )


def copies(cluster: Cluster, seeds: range) -> Iterator[Cluster]:
    """Yield the same cluster with other luck."""
    for seed in seeds:
        yield replace(cluster, seed=seed)
