"""How work flowed: idle replicas and gaps, thin batches, growing queues."""

from collections.abc import Iterator

import numpy as np

from report.figures import figure
from report.findings.finding import (
    Finding,
    Found,
    Recommendation,
    name_replicas,
)
from report.reading.run import Run
from report.reading.telemetry import COORDINATOR
from report.rendering.words import count
from report.statistics.busy import idle_s
from report.statistics.rates import steadiness

_IDLE = 0.05
_THIN = 0.8
_FULL_CACHE = 0.95
_GROWTH = 2.0
_OVERLOAD = 0.02
"""Share of the arrivals that must be left over for a queue to be called growing."""
_BUSY_COORDINATOR = 90.0


def flow(run: Run) -> Iterator[Found]:
    """Yield what kept replicas from working."""
    yield from _idle_replicas(run)
    if run.offline:
        yield from _idle_time(run)
        yield from _thin_batches(run)
    if run.settings.loadgen_scenario == "Server":
        yield from _growing_queue(run)
    yield from _coordinator(run)


def _idle_replicas(run: Run) -> Iterator[Found]:
    worked = set(np.unique(run.done.replica).tolist())
    # Why a replica that left did nothing is told where it is told that it left.
    left = {absence.replica for absence in run.absences}
    idle = [r.replica for r in run.replicas if r.replica not in worked | left]
    # Of a damaged record nobody knows whose samples are missing.
    if not idle or not len(run.done) or len(run.samples) < run.issued:
        return
    single = run.settings.loadgen_scenario == "SingleStream"
    yield Found(
        finding=Finding(
            code="idle.replica",
            severity="note" if single else "warning",
            title=f"{len(idle)} of {count(run.size, 'replica')} completed nothing",
            where=[f"replica {r}" for r in idle[:16]],
            evidence=name_replicas(idle),
            cause="SingleStream has one query at a time, and the first replica is free"
            if single
            else "not shown by the record",
            measure="" if single else "events.jsonl and the replicas' logs",
        )
    )


def _idle_time(run: Run) -> Iterator[Found]:
    # A replica whose samples were lost had no work because of that.
    lost = {*run.lost.replica.tolist(), *run.gone}
    stayed = [r for r, own in run.by_replica.items() if len(own) and r not in lost]
    if not stayed or not run.wall_s:
        return
    idle = np.array([idle_s(run, r) for r in stayed])
    share = float(idle.sum()) / sum(run.present_s(r) for r in stayed)
    if share < _IDLE:
        return
    start, between, end = idle.sum(axis=0)
    worst = int(idle.sum(axis=1).argmax())
    kinds = {"start": start, "between": between, "end": end}
    cause = {
        "start": "work reached replicas late at the start",
        "between": "replicas ran out of work while samples were left",
        "end": "replicas had no work left while others finished",
    }[max(kinds, key=lambda kind: kinds[kind])]
    yield Found(
        finding=Finding(
            code="idle.time",
            severity="warning",
            title=f"Replicas were idle for {share:.0%} of the run",
            where=[f"replica {stayed[worst]}"],
            evidence=f"{start:,.1f} s at the start, {between:,.1f} s between,"
            f" {end:,.1f} s at the end, over {count(len(stayed), 'replica')} of"
            f" {run.wall_s:,.1f} s; most: replica {stayed[worst]},"
            f" {idle[worst].sum():,.1f} s",
            cause=cause,
        ),
        advice=Recommendation(
            finding="idle.time",
            text="run longer: the drain at the end is paid once"
            if kinds["end"] >= max(start, between)
            else "look at the coordinator and at the hand-out of work",
            estimate=figure(
                round(100 * share / (1 - share), 1),
                "%",
                "idle time / busy time: more throughput, had no replica been idle, at"
                " most",
            ),
        ),
    )


def _thin_batches(run: Run) -> Iterator[Found]:
    engines = run.measured.engines
    limits = {r.replica: r.engine.get("max_num_seqs") for r in run.replicas}
    thin, shares = [], []
    # The ramp and the drain are no fault of the batch, nor is a lack of samples.
    begin = run.begin_ns + 0.15 * run.wall_s * 1e9
    last = float(run.done.dispatched.max()) if len(run.done) else 0.0
    end = min(run.begin_ns + 0.85 * run.wall_s * 1e9, last)
    middle = (engines.t_ns >= begin) & (engines.t_ns <= end)
    waiting, cache = engines.values["waiting"], engines.values["kv_used"]
    running = engines.values["running"]
    for replica, limit in limits.items():
        mine = middle & (engines.replica == replica)
        if not isinstance(limit, int) or mine.sum() < 10:
            continue
        if running[mine].mean() < _THIN * limit:
            thin.append(replica)
            shares.append(float(running[mine].mean()) / limit)
    if not thin:
        return
    mine = middle & np.isin(engines.replica, thin)
    empty = float((waiting[mine] == 0).mean())
    full = float((np.nan_to_num(cache[mine]) > _FULL_CACHE).mean())
    starved = empty > 0.5
    if full > 0.5:
        cause = f"the KV cache was full in {full:.0%} of readings"
    elif starved:
        cause = f"nothing waited in the engine in {empty:.0%} of readings"
    else:
        cause = "prompts waited: the budget of prompt tokens per step held them back"
    yield Found(
        finding=Finding(
            code="batch.starved" if starved else "batch.thin",
            severity="warning" if starved else "note",
            title=f"Batches were {np.mean(shares):.0%} full on"
            f" {len(thin)} of {count(run.size, 'replica')}",
            where=[f"replica {r}" for r in thin[:16]],
            evidence=f"running samples / max_num_seqs while samples were left to hand"
            " out, without the first 15% of the run;"
            f" {name_replicas(thin)}",
            cause=cause,
            measure="a run with a larger engine.options.max_num_batched_tokens"
            if not starved and full <= 0.5
            else "",
        )
    )


def _growing_queue(run: Run) -> Iterator[Found]:
    done = run.done
    order = np.argsort(done.issued)
    ttft = done.ttft_ns[order]
    parts = np.array_split(ttft[~np.isnan(ttft)], 8)
    if min(len(part) for part in parts) < 10:
        yield from _judged_growing(run)
        return
    medians = np.array([np.median(part) for part in parts]) / 1e6
    rises = int((np.diff(medians) > 0).sum())
    if medians[-1] < _GROWTH * medians[0] or rises < 6:
        yield from _judged_growing(run)
        return
    came, answered = _rates_after_start(run)
    # Latencies also grow where replicas slow down, far below what they can do.
    if answered > (1 - _OVERLOAD) * came:
        return
    yield Found(
        finding=Finding(
            code="queue",
            severity="warning",
            title="The queue grew: samples arrived faster than they were answered",
            evidence=f"{came:,.4g} samples/s arrived and {answered:,.4g}/s were"
            " completed while samples arrived, without the first eighth; median TTFT"
            f" {medians[0]:,.0f} ms in the first eighth of the samples,"
            f" {medians[-1]:,.0f} ms in the last; it rose in {rises} of 7 steps",
            cause="the arrival rate was above what"
            f" {count(run.size, 'replica')} completed",
            measure="a search for the highest rate that keeps the latency limits: it is"
            f" below the {answered:,.4g} samples/s that were completed here, which is"
            " the rate with a full queue",
        )
    )


def _judged_growing(run: Run) -> Iterator[Found]:
    """Yield the gate's word that the queue grew, where TTFT does not show it."""
    if steadiness(run) != "growing":
        return
    check = next(c for c in run.verdict.checks if c.name == "steady_state")
    yield Found(
        finding=Finding(
            code="queue",
            severity="warning",
            title="The queue grew through the whole run",
            evidence=check.note,
            cause="the arrival rate was above what"
            f" {count(run.size, 'replica')} can do: this rate is not sustained",
        )
    )


def _rates_after_start(run: Run) -> tuple[float, float]:
    """Return samples/s that arrived and that were completed while samples arrived.

    Without the first eighth of that time, in which the first samples are in work.
    """
    issued, completed = run.samples.issued, run.done.completed
    last = int(issued.max())
    begin = run.begin_ns + (last - run.begin_ns) // 8
    seconds = (last - begin) / 1e9
    if seconds <= 0:
        return 0.0, 0.0
    came = int(((issued > begin) & (issued <= last)).sum())
    answered = int(((completed > begin) & (completed <= last)).sum())
    return came / seconds, answered / seconds


def _coordinator(run: Run) -> Iterator[Found]:
    busy = run.measured.hosts.of(COORDINATOR, "process_cpu_pct")
    if len(busy) < 5 or busy.mean() < _BUSY_COORDINATOR:
        return
    yield Found(
        finding=Finding(
            code="coordinator",
            severity="warning",
            title="The coordinator's process was busy nearly all the time",
            evidence=f"{busy.mean():,.0f}% of one core, mean;"
            f" {busy.max():,.0f}% at most",
            cause="more messages than one Python process handles: latencies hold its"
            " queue too",
        )
    )
