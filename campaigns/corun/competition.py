"""Names what a workload competes for, where its record shows it.

Evidence, in this order of directness: steps with the same work take longer (step
records), a resource is full together and not alone (telemetry), and both workloads use
the same device or server. A slowdown without such evidence is named as unexplained.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    cores = _shared_cores(together, others)
    if cores is not None and cores.used_pct >= _FULL_CPU_PCT:
        yield Competition(
            resource="cores that they share",
            evidence=f"{cores}{_less(alone, together)}; {work}",
        )
        return
    clocks = (alone.sm_clock_mhz, together.sm_clock_mhz)
    if None not in clocks and (clocks[1] or 0) < _LOWER_CLOCK * (clocks[0] or 0):
        yield Competition(
            resource="power or cooling of the host",
            evidence=f"the GPUs run at {clocks[1]:.0f} MHz, alone at"
            f" {clocks[0]:.0f} MHz; {work}",
        )
        return
    used = together.host_cpu_pct
    free = used is not None and (cores is None or cores.used_pct < _FULL_CPU_PCT)
    if free and not together.devices and _same_host(together, others):
        yield Competition(
            resource="memory bandwidth of the host",
            evidence=f"its processors are {used:.0f}% in use"
            f"{f', and {cores}' if cores is not None else ''}, so cores are free;"
            f" {work}",
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
    return f"the host's processors are {now:.0f}% in use{known}{_less(alone, together)}"


@dataclass(frozen=True, slots=True)
class SharedCores:
    """The cores of workloads that have some in common."""

    count: int
    """Cores that at least one of them may use."""
    used_pct: float
    """Share of their time that the workloads use; NaN: not recorded."""

    def __str__(self) -> str:
        name = "core" if self.count == 1 else "cores"
        return f"the workloads use {self.used_pct:.0f}% of {self.count} {name}"


def _shared_cores(together: Signals, others: Sequence[Signals]) -> SharedCores | None:
    """Return what the workloads use of the cores that they share; None: none.

    The host may have other cores, which are free, but no workload may use them.
    """
    if not any(together.cores & other.cores for other in others):
        return None
    cores = together.cores.union(*[other.cores for other in others])
    parts = [
        math.nan if one.process_cpu_pct is None else one.process_cpu_pct
        for one in (together, *others)
    ]
    return SharedCores(len(cores), sum(parts) / len(cores))


def _less(alone: Signals, together: Signals) -> str:
    if not alone.process_cpu_pct or together.process_cpu_pct is None:
        return ""
    return (
        f"; the workload gets {together.process_cpu_pct / 100:.2f} cores, alone"
        f" {alone.process_cpu_pct / 100:.2f}"
    )


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
