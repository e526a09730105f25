"""What to do next, with what it would gain and how to confirm it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from report.timeline.capacity import Capacity, Safe
from report.timeline.episodes import Episode
from report.timeline.series import Inputs
from report.timeline.slo import Account

_WIDE = 0.02
"""Half an interval of the sustained rate, relative, that a search can work with."""
_LONGEST = 8.0
_IDLE_PCT = 5.0
"""Least idle share of a GPU, while requests waited, that says something of its host."""
_FIXES = {
    "host": (
        "free the host for the replica: bind it to the cores and the memory of its"
        " GPU's NUMA node, keep other processes off these cores (isolated cores), and"
        " set the CPU frequency governor to performance",
        "watch the replica's process and the GPU's utilization during a run at the same"
        " rate: utilization stays where it is outside the episode",
    ),
    "throttled": (
        "cool the GPU or give it the power it needs",
        "nvidia-smi -q -d PERFORMANCE shows no active slowdown reason under load",
    ),
    "clock": (
        "set the GPU's clocks and power limit as they are outside the episode",
        "nvidia-smi -q -d CLOCK,POWER under load",
    ),
    "gpu": (
        "find what else used the GPU at that time, and keep it away",
        "nvidia-smi pmon during a run at the same rate shows one process",
    ),
    "kv": (
        "give the KV cache more room: a higher gpu_memory_utilization, an fp8 KV cache,"
        " or fewer requests at once (max_num_seqs)",
        "the KV cache in use stays below 95% at the same rate",
    ),
    "network": (
        "look at the link between the coordinator and the replica: route, load, other"
        " traffic",
        "the time outside the replica stays level at the same rate",
    ),
    "cold": (
        "warm up with more requests of the run's shapes before the clock starts"
        " (engine.warmup_requests)",
        "the first seconds of a rerun are as fast as the rest",
    ),
    "fenced": (
        "find out why the replica was fenced (its log is in the folder replicas/)",
        "a rerun without a fence",
    ),
    "prompts": (
        "spread long prompts over the run, or judge it by tokens: the load itself"
        " changed",
        "a rerun with another seed",
    ),
    "arrivals": (
        "look at what changed the arrivals: with LoadGen's Poisson arrivals such a"
        " change does not happen by chance",
        "a rerun with the same seed has the same arrivals",
    ),
    "unknown": (
        "find what happened at that time: the record does not show it",
        "a rerun on the same replica at another time, and one on another",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing to do."""

    code: str
    """Of the finding that it follows from."""
    where: list[str]
    text: str
    value: float
    """What it would gain in this run."""
    unit: str
    definition: str
    """How the gain is computed."""


def advise(
    inputs: Inputs,
    episodes: Sequence[Episode],
    accounts: Sequence[Account],
    capacity: Capacity | None,
    safe: Safe | None,
) -> list[Advice]:
    """Return what to do, the largest gain first; at least one where a limit failed."""
    found = [_fix(inputs, one, accounts) for one in episodes]
    if accounts:
        found += _rate(inputs, accounts, capacity, safe)
        found += _host(accounts, capacity)
    found += _longer(accounts, capacity)
    return sorted(found, key=lambda one: (one.unit != "requests", -one.value))


def _fix(inputs: Inputs, one: Episode, accounts: Sequence[Account]) -> Advice:
    text, confirm = _FIXES[one.cause]
    late = [
        (part.late, part.without_s, account)
        for account in accounts
        for part in account.parts
        if part.episode is one
    ]
    words = f"{text}; to confirm: {confirm}"
    if late:
        number, without, account = max(late, key=lambda item: item[0])
        # A drift of all replicas leaves no others.
        others = (
            f"; {share(account.percentile)} of all others {ms(without)} instead of"
            f" {ms(account.value_s)}"
            if without == without
            else ""
        )
        return Advice(
            code=f"episode.{one.cause}",
            where=one.where,
            text=words,
            value=number,
            unit="requests",
            definition=f"fewer late by {account.limit}: those of the episode{others}",
        )
    if one.cause == "network":
        return Advice(
            code="episode.network",
            where=one.where,
            text=words,
            value=round(_outside_ms(inputs, one), 2),
            unit="ms",
            definition="less time outside the replica, mean over the run's requests:"
            " its excess in the episode x the episode's share of the requests",
        )
    return Advice(
        code=f"episode.{one.cause}",
        where=one.where,
        text=words,
        value=round(_slower_pct(inputs, one), 2),
        unit="%",
        definition="less time per output token over the run: its excess in the episode"
        " x the episode's share of the run and of the replicas",
    )


def _outside_ms(inputs: Inputs, one: Episode) -> float:
    """Return how much longer a mean request was outside its replica."""
    requests = inputs.requests
    own = np.isin(requests.replica, one.replicas)
    own &= (requests.completed >= one.begin_s) & (requests.completed <= one.end_s)
    if not own.any() or own.all():
        return 0.0
    excess = np.nanmean(requests.outside[own]) - np.nanmean(requests.outside[~own])
    return max(0.0, 1e3 * float(excess * own.mean()))


def idle_in_bursts(accounts: Sequence[Account]) -> list[float]:
    """Return the GPU's idle share in each burst of arrivals, in percent.

    Empty if the GPU was busy in all of them, or if this was not measured.
    """
    idle = [
        part.idle_pct
        for account in accounts
        for part in account.parts
        if part.kind == "burst"
    ]
    return idle if max(idle, default=0.0) >= _IDLE_PCT else []


def _host(accounts: Sequence[Account], capacity: Capacity | None) -> list[Advice]:
    """Return the advice for a GPU that waited for its host throughout the run."""
    idle = idle_in_bursts(accounts)
    if not idle or capacity is None:
        return []
    mean = min(sum(idle) / len(idle), 99.0)
    text, confirm = _FIXES["host"]
    return [
        Advice(
            code="limits",
            where=[],
            text=f"{text}; in the bursts the GPU was idle for {mean:.0f}% of the time"
            f" in which requests waited; to confirm: {confirm}",
            value=round(capacity.per_s * mean / (100 - mean), 2),
            unit="requests/s",
            definition="more than these settings sustained with a queue, at most: as if"
            " the GPU had never been idle while requests waited",
        )
    ]


def _slower_pct(inputs: Inputs, one: Episode) -> float:
    """Return by how much an episode lengthened the run's mean time per output token."""
    step = next((f for f in one.evidence if f.name == "time per output token"), None)
    if step is None or not step.outside or not inputs.wall_s:
        return 0.0
    excess = max(0.0, step.inside / step.outside - 1)
    if one.drift:
        # From the first quarter to the last: over the run, half of the whole change.
        return 100 * excess * (2 / 3)
    replicas = len(one.replicas) / len(inputs.names)
    return 100 * excess * one.length_s / inputs.wall_s * replicas


def _rate(
    inputs: Inputs,
    accounts: Sequence[Account],
    capacity: Capacity | None,
    safe: Safe | None,
) -> list[Advice]:
    """Return the rate that keeps the limits, where the rest of the run missed them."""
    failing = [one for one in accounts if one.usual_s > one.limit_s or _rest(one)]
    if not failing:
        return []
    worst = max(failing, key=_rest)
    arrived = rate_of(inputs)
    if capacity is None or safe is None or safe.per_s >= arrived:
        return [_guess(worst, arrived)]
    expected = max(0, _rest(worst) - worst.allowed)
    return [
        Advice(
            code="limits",
            where=[],
            text=f"lower the arrival rate to {safe.per_s:.3g}/s ({safe.low:.3g} to"
            f" {safe.high:.3g}; scenario.target_qps): the run came at {arrived:.3g}/s"
            f" and these settings sustained {capacity.per_s:.3g}/s"
            f" ({capacity.low:.3g} to {capacity.high:.3g}) with a queue, which keeps no"
            " limit; to confirm: a run of the same length at that rate with another"
            " seed, or a search for the rate (python -m campaigns.scaling)",
            value=expected,
            unit="requests",
            definition=f"fewer late by {worst.limit} outside of episodes: all but the"
            f" {100 * (1 - worst.percentile):.3g}% that the limit allows; the rate from"
            " Poisson arrivals in front of the sustained rate (the same model gives"
            f" {safe.late_at_run:.1%} late at this run's rate, where"
            f" {_rest(worst) / worst.requests:.1%} were late outside of episodes)",
        )
    ]


def _rest(account: Account) -> int:
    """Return the late requests that no episode explains."""
    return sum(part.late for part in account.parts if part.kind != "episode")


def _guess(account: Account, arrived: float) -> Advice:
    """Return a rate for a run that does not show what its settings sustain."""
    # Where bursts and episodes took up the whole run, there is no usual percentile.
    known = account.usual_s == account.usual_s
    value_s = account.usual_s if known else account.value_s
    rate = arrived * max(0.5, min(0.95, account.limit_s / value_s))
    return Advice(
        code="limits",
        where=[],
        text=f"lower the arrival rate to about {rate:.3g}/s and search from there"
        " (python -m campaigns.scaling): the run does not show which rate these"
        " settings sustain within the limits",
        value=max(0, _rest(account) - account.allowed),
        unit="requests",
        definition=f"fewer late by {account.limit}, if it falls in proportion to the"
        f" rate: {share(account.percentile)} {ms(value_s)} at {arrived:.3g}/s",
    )


def _longer(accounts: Sequence[Account], capacity: Capacity | None) -> list[Advice]:
    if not accounts or capacity is None:
        return []
    half = (capacity.high - capacity.low) / 2 / capacity.per_s
    if half <= _WIDE:
        return []
    times = (half / _WIDE) ** 2
    if times > _LONGEST:
        return []
    return [
        Advice(
            code="limits",
            where=[],
            text=f"run {times:.2g} times as long at the same rate if the sustained"
            f" rate must be known to {_WIDE:.0%}; to confirm: the interval in the next"
            " report",
            value=round(100 * (half - _WIDE), 2),
            unit="%",
            definition="narrower interval of the sustained rate, each way: it falls"
            " with the square root of the time in which the run was saturated"
            f" ({capacity.seconds:,.0f} replica seconds)",
        )
    ]


def rate_of(inputs: Inputs) -> float:
    """Return the arrivals per second from the first to the last."""
    arrived = inputs.requests.arrived
    span = float(arrived.max() - arrived.min()) if len(arrived) else 0.0
    return (len(arrived) - 1) / span if span > 0 else 0.0


def share(percentile: float) -> str:
    """Return a percentile's name, e.g. p99."""
    return f"p{100 * percentile:g}"


def ms(seconds: float) -> str:
    """Return seconds as milliseconds with three digits."""
    value = 1e3 * seconds
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"
