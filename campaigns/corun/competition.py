"""Names what a workload competes for, where its record shows it.

Evidence, in this order of directness: steps with the same work take longer (step
records), a resource is full together and not alone (telemetry), and both workloads use
the same device or server. A slowdown without such evidence is named as unexplained.
"""

from collections.abc import Iterator, Sequence

from campaigns.corun.record import Competition
from campaigns.corun.signals import Signals, equal_work_ratio

_LONGER = 1.05
"""A step with the same work that takes so much longer is slowed."""
_MOSTLY = 1.2
"""One kind of step slowed by so much more than the other."""
_FULL_CPU_PCT = 90.0
_FULL_CACHE = 0.9
_MORE_CACHE = 0.1
_LOWER_CLOCK = 0.97


def competition(
    alone: Signals, together: Signals, others: Sequence[Signals]
) -> list[Competition]:
    """Return what a slowed workload competes for, the most direct evidence first.

    Args:
        alone: of its run without the others.
        together: of its run beside the others.
        others: of the other workloads' runs beside it.
    """
    decode = equal_work_ratio(alone.steps, together.steps, decode=True)
    prefill = equal_work_ratio(alone.steps, together.steps, decode=False)
    return [
        *_execution(alone, together, others, decode, prefill),
        *_cache(alone, together),
        *_servers(together, others),
    ]


def _execution(
    alone: Signals,
    together: Signals,
    others: Sequence[Signals],
    decode: float | None,
    prefill: float | None,
) -> Iterator[Competition]:
    known = [ratio for ratio in (decode, prefill) if ratio is not None]
    if not known or max(known) < _LONGER:
        return
    work = _work(decode, prefill)
    shared = set(together.devices).intersection(*[o.devices for o in others])
    if shared:
        yield Competition(
            resource=_part_of_device(decode, prefill),
            evidence=f"all of them use {', '.join(sorted(shared))}; {work}",
        )
        return
    if (cpu := _cpu(alone, together)) is not None:
        yield Competition(resource="host CPU", evidence=f"{cpu}; {work}")
        return
    clocks = (alone.sm_clock_mhz, together.sm_clock_mhz)
    if None not in clocks and (clocks[1] or 0) < _LOWER_CLOCK * (clocks[0] or 0):
        yield Competition(
            resource="power or cooling of the host",
            evidence=f"the GPUs run at {clocks[1]:.0f} MHz, alone at"
            f" {clocks[0]:.0f} MHz; {work}",
        )
        return
    if not together.devices and _same_host(together, others):
        yield Competition(
            resource="memory bandwidth of the host",
            evidence=f"its processors are {together.host_cpu_pct:.0f}% in use, so cores"
            f" are free; {work}"
            if together.host_cpu_pct is not None
            else work,
        )


def _same_host(together: Signals, others: Sequence[Signals]) -> bool:
    return any(together.nodes & other.nodes for other in others)


def _work(decode: float | None, prefill: float | None) -> str:
    parts = []
    if decode is not None:
        parts.append(f"{decode:.2f} times as long if it only decodes")
    if prefill is not None:
        parts.append(f"{prefill:.2f} times as long if it has prompt tokens")
    return f"an engine step with the same work takes {' and '.join(parts)}"


def _part_of_device(decode: float | None, prefill: float | None) -> str:
    """Return which part of a shared device limits, as far as steps show.

    Decoding reads the weights and the cache for few computations, and prefill computes
    much for each byte (the roofline model): so memory bandwidth slows the first, and
    compute the second.
    """
    if decode is not None and prefill is not None:
        if decode > _MOSTLY * prefill:
            return "GPU, mostly its memory bandwidth"
        if prefill > _MOSTLY * decode:
            return "GPU, mostly its compute"
    return "GPU"


def _cpu(alone: Signals, together: Signals) -> str | None:
    now, before = together.host_cpu_pct, alone.host_cpu_pct
    if now is None or now < _FULL_CPU_PCT:
        return None
    known = "" if before is None else f", alone {before:.0f}%"
    if before is not None and before >= _FULL_CPU_PCT:
        known += (
            "; other processes also keep them busy when the workload runs alone, so"
            " they may cause a part of the loss"
        )
    less = ""
    if alone.process_cpu_pct and together.process_cpu_pct is not None:
        less = (
            f"; the workload gets {together.process_cpu_pct / 100:.1f} cores, alone"
            f" {alone.process_cpu_pct / 100:.1f}"
        )
    return f"the host's processors are {now:.0f}% in use{known}{less}"


def _cache(alone: Signals, together: Signals) -> Iterator[Competition]:
    now, before = together.kv_used, alone.kv_used
    fuller = now is not None and before is not None and now - before > _MORE_CACHE
    if now is None or before is None:
        return
    freed = together.preempted > 2 * alone.preempted
    if (fuller and now >= _FULL_CACHE) or freed:
        tail = ""
        if freed:
            tail = (
                f", and {together.preempted} requests were preempted (alone"
                f" {alone.preempted})"
            )
        yield Competition(
            resource="KV cache",
            evidence=f"{100 * now:.0f}% of it is in use, alone {100 * before:.0f}%"
            f"{tail}",
        )


def _servers(together: Signals, others: Sequence[Signals]) -> Iterator[Competition]:
    for server in sorted(together.servers.intersection(*[o.servers for o in others])):
        yield Competition(resource="server", evidence=f"all of them send to {server}")
