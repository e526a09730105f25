"""A run of a simulated cluster, and the folder that it leaves."""

import heapq
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from record.folder import RunFolder
from record.structs import EventRecord, SampleRecord
from tests.run_folder import START_NS, FolderSpec, write_folder
from tests.simulated.cluster import TOKENS, Cluster
from tests.simulated.records import (
    WAYSIDE_S,
    completed,
    node_name,
    record_of,
    replace_lost,
    telemetry_of,
)
from tests.simulated.replica import Item, Replica


def prompt_lengths(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return lengths like those of CNN/DailyMail: median 765, mean 833, up to 2,267."""
    return np.clip(rng.lognormal(np.log(765), 0.44, count), 141, 2267).astype(int)


def simulate(cluster: Cluster) -> FolderSpec:
    """Return the run of `cluster`."""
    rng = np.random.default_rng(cluster.seed)
    replicas = [Replica(i, cluster, rng) for i in range(cluster.replicas)]
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
        telemetry=list(telemetry_of(cluster, replicas, rng, wall_s)),
        records=[record_of(cluster, i, rng) for i in range(cluster.replicas)],
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
    replicas: list[Replica],
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
        Item(i, lengths[i], int(outputs[i]), arrivals[i]) for i in range(count)
    )
    done: list[SampleRecord] = []
    events: list[EventRecord] = []
    queue: list[tuple[float, int]] = []
    if offline:
        queue = [(0.0, r.number) for r in replicas]
    idle = set() if offline else {r.number for r in replicas}
    loads = np.zeros(len(replicas))

    def hand(item: Item, replica: Replica, now: float) -> None:
        item.dispatched = now
        item.arrived = now + replica.fault.way_s / 2 + WAYSIDE_S / 2
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
            done.append(completed(cluster, item, replica, end))
        heapq.heappush(queue, (end, number))
    done.sort(key=lambda s: s.completed_ns or START_NS + 2**62)
    return done, events


def _from_zero(times: np.ndarray) -> np.ndarray:
    """Return times since the first, as LoadGen schedules the first query at once."""
    return np.asarray(times - times[0])


def _dies(replica: Replica, now: float, span: float) -> bool:
    at = replica.fault.dies_at
    return at is not None and now > at * span


def _bury(
    replica: Replica,
    now: float,
    done: list[SampleRecord],
    events: list[EventRecord],
    pool: deque[Item],
    offline: bool,
) -> None:
    replica.dead = True
    held = [item for items in replica.ending.values() for item in items]
    t_ns = START_NS + int(now * 1e9)
    node = node_name(replica.cluster, replica.number)
    place: dict[str, Any] = {"t_ns": t_ns, "node": node, "replica": replica.number}
    ended = "exit code -9"
    events.append(EventRecord(kind="death", cause=ended, **place))
    ended = f"its process ended ({ended})"
    events.append(EventRecord(kind="fence", cause=ended, **place))
    for item in held:
        done.append(replace_lost(completed(replica.cluster, item, replica, now)))
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
