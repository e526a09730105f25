"""Findings on the flow of work: idle replicas, small batches, growing queues."""

from collections.abc import Iterator

import numpy as np

from report.figures import figure
from report.findings.finding import Finding, Found, Recommendation
from report.reading.run import Run
from report.reading.telemetry import COORDINATOR
from report.statistics.batches import SMALL, batch_fill, batches
from report.statistics.busy import IDLE, idle_time
from report.statistics.rates import steadiness
from report.wording import NOT_RECORDED, count, name_replicas, sentence

_GROWTH = 2.0
_OVERLOAD = 0.02
"""Share of the arrivals that are left over when a queue is called growing."""
_BUSY_COORDINATOR = 90.0


def flow(run: Run) -> Iterator[Found]:
    """Yield what kept replicas from working."""
    yield from _idle_replicas(run)
    if run.offline:
        yield from _idle_time(run)
        yield from _small_batches(run)
    if run.settings.loadgen_scenario == "Server":
        yield from _growing_queue(run)
    yield from _coordinator(run)


def _idle_replicas(run: Run) -> Iterator[Found]:
    worked = set(np.unique(run.done.replica).tolist())
    # The finding on a replica that left explains why it completed nothing.
    left = {absence.replica for absence in run.absences}
    idle = [r.replica for r in run.replicas if r.replica not in worked | left]
    # A damaged record does not show whose samples are missing.
    if not idle or not len(run.done) or len(run.samples) < run.issued:
        return
    single = run.settings.loadgen_scenario == "SingleStream"
    yield Found(
        finding=Finding(
            code="idle.replica",
            severity="note" if single else "warning",
            title=f"{len(idle)} of {count(run.size, 'replica')} completed nothing",
            where=[f"replica {r}" for r in idle[:16]],
            evidence=f"No sample was completed by {name_replicas(idle)}.",
            cause="SingleStream issues one query at a time, and the first replica is"
            " always free."
            if single
            else NOT_RECORDED,
            measure=""
            if single
            else "Read events.jsonl and the logs of these replicas.",
        )
    )


def _idle_time(run: Run) -> Iterator[Found]:
    found = idle_time(run)
    if found is None or found.share < IDLE:
        return
    stayed, idle, share = found.replicas, found.seconds, found.share
    start, between, end = idle.sum(axis=0)
    worst = int(idle.sum(axis=1).argmax())
    kinds = {"start": start, "between": between, "end": end}
    cause = {
        "start": "Work reached the replicas late.",
        "between": "Replicas ran out of work while samples were left.",
        "end": "Replicas had no work left while others finished.",
    }[max(kinds, key=lambda kind: kinds[kind])]
    yield Found(
        finding=Finding(
            code="idle.time",
            severity="warning",
            title=f"Replicas were idle for {share:.0%} of the run",
            where=[f"replica {stayed[worst]}"],
            evidence=f"Idle time of {count(len(stayed), 'replica')} in"
            f" {run.wall_s:,.1f} s: {start:,.1f} s at the start, {between:,.1f} s in"
            f" between, {end:,.1f} s at the end. Replica {stayed[worst]} was idle for"
            f" the longest time, {idle[worst].sum():,.1f} s.",
            cause=cause,
        ),
        advice=Recommendation(
            finding="idle.time",
            text="make a longer run: the drain at its end occurs only once"
            if kinds["end"] >= max(start, between)
            else "check the coordinator's load and the dispatch of samples",
            estimate=figure(
                round(100 * share / (1 - share), 1),
                "%",
                "idle time / busy time: upper bound of the additional throughput if no"
                " replica were idle",
            ),
        ),
    )


def _small_batches(run: Run) -> Iterator[Found]:
    fill = {r: share for r, share in batch_fill(run).items() if share < SMALL}
    if not fill:
        return
    small = batches(run, fill)
    starved = small.no_waiting > 0.5
    if small.full_cache > 0.5:
        cause = f"The KV cache was full in {small.full_cache:.0%} of the readings."
    elif starved:
        cause = (
            f"No sample waited in the engine in {small.no_waiting:.0%} of the readings."
        )
    else:
        cause = (
            "Samples waited for their prefill: max_num_batched_tokens limits the prompt"
            " tokens of a step."
        )
    yield Found(
        finding=Finding(
            code="batch.starved" if starved else "batch.thin",
            severity="warning" if starved else "note",
            title=f"Batches were {small.filled:.0%} full on"
            f" {len(fill)} of {count(run.size, 'replica')}",
            where=[f"replica {r}" for r in small.replicas[:16]],
            evidence="Running samples / max_num_seqs on"
            f" {name_replicas(small.replicas)}, without the first and the last 15% of"
            " the run and without the time after the last dispatch.",
            cause=cause,
            measure="Repeat the run with a larger"
            " engine.options.max_num_batched_tokens."
            if not starved and small.full_cache <= 0.5
            else "",
        )
    )


def _growing_queue(run: Run) -> Iterator[Found]:
    done = run.done
    order = np.argsort(done.issued)
    ttft = done.ttft_ns[order]
    parts = np.array_split(ttft[~np.isnan(ttft)], 8)
    if min(len(part) for part in parts) < 10:
        yield from _growing_by_gate(run)
        return
    medians = np.array([np.median(part) for part in parts]) / 1e6
    rises = int((np.diff(medians) > 0).sum())
    if medians[-1] < _GROWTH * medians[0] or rises < 6:
        yield from _growing_by_gate(run)
        return
    arrived, completed = _rates_after_start(run)
    # Latencies also grow if replicas slow down, far below what they can sustain.
    if completed > (1 - _OVERLOAD) * arrived:
        return
    yield Found(
        finding=Finding(
            code="queue",
            severity="warning",
            title="The queue grew: samples arrived faster than they were completed",
            evidence=f"{arrived:,.4g} samples/s arrived and {completed:,.4g} samples/s"
            " were completed, without the first eighth of the arrivals. The median TTFT"
            f" was {medians[0]:,.0f} ms in the first eighth of the samples and"
            f" {medians[-1]:,.0f} ms in the last; it rose in {rises} of 7 steps.",
            cause=f"The arrival rate was higher than what {count(run.size, 'replica')}"
            " completed.",
            measure="Search the highest rate that meets the latency limits. It is below"
            f" the {completed:,.4g} samples/s that were completed here with a full"
            " queue.",
        )
    )


def _growing_by_gate(run: Run) -> Iterator[Found]:
    """Yield that the gate found a growing queue, if TTFT does not show it."""
    if steadiness(run) != "growing":
        return
    check = next(c for c in run.verdict.checks if c.name == "steady_state")
    yield Found(
        finding=Finding(
            code="queue",
            severity="warning",
            title="The queue grew through the whole run",
            evidence=sentence(check.note),
            cause=f"The arrival rate was higher than what {count(run.size, 'replica')}"
            " can sustain.",
        )
    )


def _rates_after_start(run: Run) -> tuple[float, float]:
    """Return the samples/s that arrived and that completed while samples arrived.

    The first eighth of that time is left out: the first samples are still in progress.
    """
    issued, completed = run.samples.issued, run.done.completed
    last = int(issued.max())
    begin = run.begin_ns + (last - run.begin_ns) // 8
    seconds = (last - begin) / 1e9
    if seconds <= 0:
        return 0.0, 0.0
    arrivals = int(((issued > begin) & (issued <= last)).sum())
    completions = int(((completed > begin) & (completed <= last)).sum())
    return arrivals / seconds, completions / seconds


def _coordinator(run: Run) -> Iterator[Found]:
    busy = run.measured.hosts.of(COORDINATOR, "process_cpu_pct")
    if len(busy) < 5 or busy.mean() < _BUSY_COORDINATOR:
        return
    yield Found(
        finding=Finding(
            code="coordinator",
            severity="warning",
            title="The coordinator's process was busy nearly all the time",
            evidence=f"It used {busy.mean():,.0f}% of one core on average, and"
            f" {busy.max():,.0f}% at most.",
            cause="There are more messages than one Python process can handle."
            " Latencies include the wait in its queue.",
        )
    )
