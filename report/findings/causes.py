"""Why a place was slow, as far as its telemetry and its samples show.

Each test sets the slow place against its peers over the same span of time and returns
a cause only where the difference is large enough to matter.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats

from report.findings.cause import Cause
from report.findings.circumstances import busy_neighbour, resting_neighbour, setup
from report.findings.slow_context import Scene, mean_of
from report.reading.telemetry import HARMFUL, POWER_CAP
from report.statistics.numbers import bits

_EARLY = 0.5
_SHARE_EXPLAINED = 0.5


def causes(view: Scene) -> list[Cause]:
    """Return the causes that hold, the most telling first."""
    tests: tuple[Callable[[Scene], Cause | None], ...] = (
        busy_neighbour,
        _throttling,
        _clock,
        _way,
        _prompts,
        _contention,
        _cold_start,
        _more_work,
        resting_neighbour,
        setup,
    )
    return [cause for test in tests if (cause := test(view)) is not None]


def _throttling(view: Scene) -> Cause | None:
    shares, clocks = view.throttled(HARMFUL), view.devices("sm_clock_mhz")
    if shares is None or shares[0] - shares[1] < 0.1:
        return None
    heat, power = view.devices("temperature_c"), view.devices("power_w")
    return Cause(
        code="throttled",
        text=f"its device throttled: {_reasons(view)} in {shares[0]:.0%} of readings"
        f" (peers {shares[1]:.0%})"
        + _against(", SM clock", clocks, "MHz")
        + _against(", temperature", heat, "C")
        + _against(", power", power, "W"),
        advice="cool the device or give it the power that its peers have",
    )


def _clock(view: Scene) -> Cause | None:
    clocks = view.devices("sm_clock_mhz")
    if clocks is None or clocks[0] > 0.97 * clocks[1]:
        return None
    if _throttling(view) is not None:
        return None
    capped = view.throttled(POWER_CAP)
    at_cap = capped is not None and capped[0] - capped[1] > 0.3
    text = f"its device ran at a lower clock: {clocks[0]:,.0f} against {clocks[1]:,.0f}"
    return Cause(
        code="clock",
        text=text
        + " MHz (SM)"
        + _against(", power", view.devices("power_w"), "W")
        + _against(", temperature", view.devices("temperature_c"), "C")
        + (", held by its power cap" if at_cap else ", with no throttle reason"),
        advice="raise its power limit to that of its peers"
        if at_cap
        else "set its clocks as its peers have them (nvidia-smi -q -d CLOCK)",
    )


def _way(view: Scene) -> Cause | None:
    own, rest = view.own_samples, view.peer_samples
    if not len(own) or not len(rest):
        return None
    excess = mean_of(own.service_ns) - mean_of(rest.service_ns)
    on_the_way = mean_of(own.way_ns) - mean_of(rest.way_ns)
    if not excess > 0 or not on_the_way > _SHARE_EXPLAINED * excess:
        return None
    known = not np.isnan(own.held).all()
    return Cause(
        code="network",
        text=f"samples spent {mean_of(own.way_ns) / 1e6:,.1f} ms outside the replica"
        f" (peers {mean_of(rest.way_ns) / 1e6:,.1f} ms), which is"
        f" {min(1.0, on_the_way / excess):.0%} of what they took longer; the replica"
        " itself was not slower"
        + ("" if known else " (how long the replica held them was not recorded)"),
        advice="look at the network between the coordinator and this place: route,"
        " link, load",
    )


def _prompts(view: Scene) -> Cause | None:
    own, rest = view.own_samples, view.peer_samples
    if len(own) < 2 or len(rest) < 2:
        return None
    here, there = own.prompt_tokens.mean(), rest.prompt_tokens.mean()
    test = stats.ttest_ind(own.prompt_tokens, rest.prompt_tokens, equal_var=False)
    if here < 1.05 * there or test.pvalue > 1e-4:
        return None
    left = _left_by_length(view)
    if left > _SHARE_EXPLAINED * view.slow.slowdown:
        return None
    return Cause(
        code="prompts",
        text=f"it was given longer prompts: {here:,.0f} against {there:,.0f} tokens,"
        f" mean (Welch p {test.pvalue:.1g}); per token of prompt and answer it is"
        f" {'not slower' if left <= 0.01 else f'{left:.1%} slower'}",
        advice="spread long prompts evenly (cluster.balancer)",
    )


def _left_by_length(view: Scene) -> float:
    """Return the slowdown per token of prompt and answer.

    A prompt token costs at most what an answer token does, so this is the least that
    a difference in lengths leaves unexplained.
    """
    own, rest = view.own_samples, view.peer_samples
    here, there = (s.prompt_tokens + s.output_tokens for s in (own, rest))
    if view.run.streaming:
        ratio = mean_of(own.service_ns / here) / mean_of(rest.service_ns / there)
    else:
        ratio = (there.sum() / len(view.peers)) / (here.sum() / len(view.slow.replicas))
    return float(ratio) - 1


def _contention(view: Scene) -> Cause | None:
    switches, steal = view.switch_rates(), view.hosts("steal_pct")
    often = switches is not None and switches[0] > max(50.0, 5 * switches[1])
    stolen = steal is not None and steal[0] - steal[1] > 5
    if not often and not stolen:
        return None
    return Cause(
        code="cpu",
        text="its process had to wait for processor cores"
        + _against(": involuntary context switches", switches, "/s")
        + _against(", stolen by the hypervisor", steal, "%")
        + _against(", host processors in use", view.hosts("host_cpu_pct"), "%"),
        advice="keep other work off its cores, or pin the replica to cores of its own",
    )


def _cold_start(view: Scene) -> Cause | None:
    slow = view.slow
    if not slow.from_start or slow.whole or slow.end_s > _EARLY * view.run.wall_s:
        return None
    records = {r.replica: r for r in view.run.replicas}
    first = [_penalty(records[r]) for r in slow.replicas]
    rest = [_penalty(records[r]) for r in view.peers]
    return Cause(
        code="cold",
        text=f"it was slow only at the start (until {slow.end_s:,.0f} s) and as fast as"
        " its peers afterwards: it was not warm"
        f" (first against last warm-up request {np.mean(first):+.0%}, peers"
        f" {np.mean(rest):+.0%})",
        advice="warm up with more and wider requests (engine.warmup_requests)",
    )


def _more_work(view: Scene) -> Cause | None:
    running = view.engines("running")
    if running is None or not view.run.streaming or running[0] < 1.1 * running[1]:
        return None
    # A slow place holds more samples anyway: more work done tells of more given.
    own = view.own_samples.output_tokens.sum() / len(view.slow.replicas)
    rest = view.peer_samples.output_tokens.sum() / max(1, len(view.peers))
    if own < 1.05 * rest:
        return None
    return Cause(
        code="work",
        text=f"it was given more work: {own / rest:.2f} times the tokens of its peers,"
        f" {running[0]:.1f} samples at once against {running[1]:.1f}",
        advice="balance by outstanding work (cluster.balancer)",
    )


def _penalty(record: object) -> float:
    first = getattr(record, "first_request_s", 0.0)
    last = getattr(record, "last_request_s", 0.0)
    return (first - last) / last if last else 0.0


def _reasons(view: Scene) -> str:
    names = {
        0x8: "hardware slowdown",
        0x20: "software thermal slowdown",
        0x40: "hardware thermal slowdown",
        0x80: "hardware power brake",
    }
    devices = view.telemetry.devices
    seen = devices.values["throttle_reasons"][
        np.isin(devices.replica, view.slow.replicas)
    ]
    given = bits(seen)
    return ", ".join(name for bit, name in names.items() if (given & bit).any())


def _against(label: str, pair: tuple[float, float] | None, unit: str) -> str:
    if pair is None:
        return ""
    return f"{label} {pair[0]:,.0f} against {pair[1]:,.0f} {unit}"
