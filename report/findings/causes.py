"""Causes of a slowdown, as far as telemetry and samples show them.

Each test compares the slow replicas with their peers over the same span of time. It
returns a cause only if the difference is large enough to matter.
"""

from collections.abc import Callable

import numpy as np

from record.structs import ReplicaRecord
from report.findings.circumstances import busy_neighbor, idle_neighbor, setup
from report.findings.finding import Cause
from report.findings.slow_context import SlowContext, mean_of
from report.reading.telemetry import HARMFUL, POWER_CAP
from report.statistics.numbers import bits
from report.wording import p_value, with_unit

_EARLY = 0.5
_SHARE_EXPLAINED = 0.5


def causes(context: SlowContext) -> list[Cause]:
    """Return the causes that apply; what was measured precedes what was set up."""
    tests: tuple[Callable[[SlowContext], Cause | None], ...] = (
        busy_neighbor,
        _throttling,
        _clock,
        _network,
        _prompts,
        _contention,
        _cold_start,
        _more_work,
        idle_neighbor,
        setup,
    )
    return [cause for test in tests if (cause := test(context)) is not None]


def _throttling(context: SlowContext) -> Cause | None:
    shares, clocks = context.throttled(HARMFUL), context.devices("sm_clock_mhz")
    if shares is None or shares[0] - shares[1] < 0.1:
        return None
    compared = _compared(
        ("SM clock", clocks, "MHz"),
        ("temperature", context.devices("temperature_c"), "C"),
        ("power", context.devices("power_w"), "W"),
    )
    return Cause(
        code="throttled",
        text=f"The device throttled ({_reasons(context)}) in {shares[0]:.0%} of the"
        f" readings; at the peers in {shares[1]:.0%}.{compared}",
        advice="improve the cooling of the device, or give it the power that the peers"
        " have",
    )


def _clock(context: SlowContext) -> Cause | None:
    clocks = context.devices("sm_clock_mhz")
    if clocks is None or clocks[0] > 0.97 * clocks[1]:
        return None
    if _throttling(context) is not None:
        return None
    capped = context.throttled(POWER_CAP)
    at_cap = capped is not None and capped[0] - capped[1] > 0.3
    compared = _compared(
        ("power", context.devices("power_w"), "W"),
        ("temperature", context.devices("temperature_c"), "C"),
    )
    reason = (
        "Its power limit held the clock down."
        if at_cap
        else "NVML reports no throttle reason."
    )
    return Cause(
        code="clock",
        text=f"The device ran at a lower SM clock: {clocks[0]:,.0f} MHz, peers"
        f" {clocks[1]:,.0f} MHz. {reason}{compared}",
        advice="raise the power limit to that of the peers"
        if at_cap
        else "set the clocks to those of the peers (nvidia-smi -q -d CLOCK shows them)",
    )


def _network(context: SlowContext) -> Cause | None:
    own, peers = context.own_samples, context.peer_samples
    if not len(own) or not len(peers):
        return None
    excess = mean_of(own.service_ns) - mean_of(peers.service_ns)
    outside = mean_of(own.overhead_ns) - mean_of(peers.overhead_ns)
    if not excess > 0 or not outside > _SHARE_EXPLAINED * excess:
        return None
    recorded = not np.isnan(own.residence).all()
    return Cause(
        code="network",
        text=f"{context.its} samples spent"
        f" {mean_of(own.overhead_ns) / 1e6:,.1f} ms outside the replica, those of the"
        f" peers {mean_of(peers.overhead_ns) / 1e6:,.1f} ms. That is"
        f" {min(1.0, outside / excess):.0%} of the difference in service latency. The"
        " replica itself was not slower."
        + ("" if recorded else " The residence time in the replica was not recorded."),
        advice="check the network between the coordinator and this node: route, link"
        " and load",
    )


def _prompts(context: SlowContext) -> Cause | None:
    own, peers = context.own_samples, context.peer_samples
    if len(own) < 2 or len(peers) < 2:
        return None
    from scipy.stats import ttest_ind  # takes a second, which few commands need

    here, there = own.prompt_tokens.mean(), peers.prompt_tokens.mean()
    test = ttest_ind(own.prompt_tokens, peers.prompt_tokens, equal_var=False)
    if here < 1.05 * there or test.pvalue > 1e-4:
        return None
    left = _slowdown_per_token(context)
    if left > _SHARE_EXPLAINED * context.slow.in_span:
        return None
    return Cause(
        code="prompts",
        text=f"{context.it} received longer prompts: {here:,.0f} tokens on average,"
        f" peers {there:,.0f} tokens (Welch's t-test, {p_value(float(test.pvalue))})."
        f" Per token of prompt and answer {context.it.lower()} {context.were}"
        f" {'not slower' if left <= 0.01 else f'{left:.1%} slower'}.",
        advice="distribute long prompts evenly (cluster.balancer)",
    )


def _slowdown_per_token(context: SlowContext) -> float:
    """Return the slowdown per token of prompt and answer.

    A prompt token costs at most as much as an answer token. So this is the least that a
    difference in lengths leaves unexplained.
    """
    own, peers = context.own_samples, context.peer_samples
    here, there = (s.prompt_tokens + s.output_tokens for s in (own, peers))
    if context.run.streaming:
        ratio = mean_of(own.service_ns / here) / mean_of(peers.service_ns / there)
    else:
        each = here.sum() / len(context.slow.replicas)
        ratio = (there.sum() / len(context.peers)) / each
    return float(ratio) - 1


def _contention(context: SlowContext) -> Cause | None:
    switches, steal = context.switch_rates(), context.hosts("steal_pct")
    often = switches is not None and switches[0] > max(50.0, 5 * switches[1])
    stolen = steal is not None and steal[0] - steal[1] > 5
    if not often and not stolen:
        return None
    compared = _compared(
        ("involuntary context switches", switches, "per second"),
        ("CPU steal time", steal, "%"),
        ("host CPU utilization", context.hosts("host_cpu_pct"), "%"),
    )
    return Cause(
        code="cpu",
        text=f"{context.its} process waited for processor cores.{compared}",
        advice="keep other work off its cores, or pin the replica to cores of its own",
    )


def _cold_start(context: SlowContext) -> Cause | None:
    slow = context.slow
    early = slow.end_s <= _EARLY * context.run.wall_s
    if not slow.from_start or slow.whole or not early:
        return None
    records = {r.replica: r for r in context.run.replicas}
    own = [_penalty(records[r]) for r in slow.replicas]
    peers = [_penalty(records[r]) for r in context.peers]
    return Cause(
        code="cold",
        text=f"{context.it} {context.were} slow only until {slow.end_s:,.0f} s and then"
        f" as fast as the peers: the engine was not warm. First warm-up request"
        f" compared with the last one: {np.mean(own):+.0%} (peers"
        f" {np.mean(peers):+.0%}).",
        advice="warm up with more requests and larger batches (engine.warmup_requests)",
    )


def _more_work(context: SlowContext) -> Cause | None:
    running = context.engines("running")
    if running is None or not context.run.streaming or running[0] < 1.1 * running[1]:
        return None
    # A slow replica runs more samples at once anyway; more tokens show more work.
    own = context.own_samples.output_tokens.sum() / len(context.slow.replicas)
    peers = context.peer_samples.output_tokens.sum() / max(1, len(context.peers))
    if own < 1.05 * peers:
        return None
    return Cause(
        code="work",
        text=f"{context.it} received more work: {own / peers:.2f} times the tokens of a"
        f" peer, and {running[0]:.1f} samples at once, peers {running[1]:.1f}.",
        advice="balance by outstanding tokens (cluster.balancer)",
    )


def _penalty(record: ReplicaRecord) -> float:
    first, last = record.first_request_s, record.last_request_s
    return (first - last) / last if last else 0.0


def _reasons(context: SlowContext) -> str:
    names = {
        0x8: "hardware slowdown",
        0x20: "software thermal slowdown",
        0x40: "hardware thermal slowdown",
        0x80: "hardware power brake",
    }
    devices = context.telemetry.devices
    seen = devices.values["throttle_reasons"][
        np.isin(devices.replica, context.slow.replicas)
    ]
    given = bits(seen)
    return ", ".join(name for bit, name in names.items() if (given & bit).any())


def _compared(*measures: tuple[str, tuple[float, float] | None, str]) -> str:
    """Return a sentence with the mean here and at the peers, for known measures."""
    known = [
        f"{label} {with_unit(f'{pair[0]:,.0f}', unit)} (peers {pair[1]:,.0f})"
        for label, pair, unit in measures
        if pair is not None
    ]
    return f" Mean values: {', '.join(known)}." if known else ""
