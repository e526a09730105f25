"""Names what changed in an episode, from what was measured inside and outside of it."""

from dataclasses import dataclass

import numpy as np

from report.reading.samples import BoolArray, FloatArray
from report.reading.telemetry import HARMFUL, POWER_CAP
from report.timeline.series import Inputs, Series
from report.timeline.signals import adjusted_step

_NAMES = {
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
_EARLY = 0.5
_COLD_BEGIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One measure inside and outside an episode."""

    name: str
    inside: float
    outside: float
    unit: str

    @property
    def text(self) -> str:
        """The measure as part of a sentence."""
        return (
            f"{self.name} {number(self.inside)} instead of"
            f" {number(self.outside)} {self.unit}"
        ).rstrip()


def number(value: float) -> str:
    """Return a number with three digits or all of its whole part."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def evidence(
    series: Series, replicas: list[int], inside: slice, drift: bool
) -> list[Evidence]:
    """Return what was measured inside and outside a span.

    For a drift, inside is the last quarter of the run and outside the first.
    """
    within, without = _masks(series, inside, drift)
    count = len(replicas)
    # Offline all requests arrive at once: how many came later says nothing.
    later = series.arrivals[:, 1:].any()
    rows: list[tuple[str, FloatArray, str]] = (
        [
            ("arrivals", series.arrivals.sum(axis=0, keepdims=True), "requests/s"),
            ("prompt", _per_request(series), "tokens"),
            ("requests without a first token", series.unanswered[replicas], ""),
        ]
        if later
        else []
    )
    rows += [
        ("time per output token", 1e3 * series.step_s[replicas], "ms"),
        ("first tokens", series.first_tokens[replicas], "/s"),
        ("GPU utilization", series.gauge("utilization_pct")[replicas], "%"),
        ("SM clock", series.gauge("sm_clock_mhz")[replicas], "MHz"),
        ("power", series.gauge("power_w")[replicas], "W"),
        ("engine queue", series.gauge("waiting")[replicas], "requests"),
        ("KV cache in use", 100 * series.gauge("kv_used")[replicas], "%"),
        ("replica's process", series.gauge("process_cpu_pct")[replicas], "% of a core"),
        ("host CPU utilization", series.gauge("host_cpu_pct")[replicas], "%"),
        ("CPU steal time", series.gauge("steal_pct")[replicas], "%"),
        ("time outside the replica", 1e3 * series.outside_s[replicas], "ms"),
    ]
    if series.steps is not None:
        steps = series.steps
        rows += [
            ("step", 1e3 * steps.step_s[replicas], "ms"),
            (
                "step time for its tokens",
                100 * np.exp(steps.excess[replicas]),
                "% of its median",
            ),
            ("time between steps while work waited", steps.gap_pct[replicas], "%"),
            ("free KV blocks", 100 * steps.kv_free[replicas], "%"),
            ("preempted", steps.preempted[replicas], "requests/s"),
        ]
    found: list[Evidence] = []
    for name, values, unit in rows:
        one, other = _mean(values[:, within]), _mean(values[:, without])
        if np.isfinite(one) and np.isfinite(other):
            each = " per replica" if count > 1 and unit == "/s" else ""
            found.append(
                Evidence(name=name + each, inside=one, outside=other, unit=unit)
            )
    return found


def harm(
    inputs: Inputs, series: Series, replicas: list[int], inside: slice, drift: bool
) -> bool:
    """Return whether requests took longer: 3% per token, or a queue came up."""
    within, without = _masks(series, inside, drift)
    steps = adjusted_step(inputs, series)[replicas]
    slower = _mean(steps[:, within]) - _mean(steps[:, without])
    waiting = series.unanswered[replicas]
    queued = _mean(waiting[:, within]) - _mean(waiting[:, without])
    usual = max(1.0, _mean(waiting[:, without]))
    return slower > 0.03 or (inputs.poisson and queued > usual)


def name_cause(
    inputs: Inputs,
    series: Series,
    signals: list[str],
    facts: list[Evidence],
    replicas: list[int],
    inside: slice,
    drift: bool = False,
) -> tuple[str, str]:
    """Return the code of what changed, and a sentence."""
    by_name = {fact.name: fact for fact in facts}
    if "arrivals" in signals:
        return "arrivals", _change(
            "requests arrived", by_name.get("arrivals"), "faster"
        )
    if "prompts" in signals:
        return "prompts", _change("prompts were", by_name.get("prompt"), "longer")
    reasons = _throttled(series, replicas, inside, drift)
    clock = by_name.get("SM clock")
    slower_clock = clock is not None and clock.inside < 0.975 * clock.outside
    if reasons:
        return "throttled", f"the GPU throttled: {reasons}" + _clocks(clock)
    if "clock" in signals or slower_clock:
        return "clock", _clock_text(series, replicas, inside, clock, drift)
    if "kv" in signals:
        return "kv", (
            "the KV cache was full, and requests waited for free blocks or were"
            " preempted"
        )
    util = by_name.get("GPU utilization")
    idle = util is not None and util.inside < util.outside - 5
    if {"lost", "gap"} & {*signals} or idle:
        return "host", _host_text(by_name)
    if "outside" in signals:
        return "network", (
            "requests spent more time outside the replica, between coordinator and"
            " engine: the network or the replica's link"
        )
    starts = inside.start <= _COLD_BEGIN * max(1.0, inputs.service_s / series.width_s)
    if starts and inside.stop < _EARLY * series.bins:
        return "cold", "steps were slower only at the start: replicas were not warm"
    if util is not None:
        return "gpu", (
            "the GPU was as busy as before and its clock was not lower, but each step"
            " took longer: another process on the GPU, slower memory, or other work in"
            " the engine"
        )
    return "unknown", "each step took longer; the record does not show why"


def _masks(series: Series, inside: slice, drift: bool) -> tuple[BoolArray, BoolArray]:
    place = np.arange(series.bins)
    if drift:
        worked = np.flatnonzero(
            series.arrivals.sum(axis=0) + series.completions.sum(axis=0)
        )
        last = int(worked[-1]) + 1 if len(worked) else series.bins
        return (place >= 0.75 * last) & (place < last), place < 0.25 * last
    within = (place >= inside.start) & (place < inside.stop)
    return within, ~within


def _mean(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _per_request(series: Series) -> FloatArray:
    """Return mean prompt tokens per bin over all replicas, shape (1, bin)."""
    arrived = series.arrivals.sum(axis=0)
    tokens = np.nansum(series.prompt_tokens * series.arrivals, axis=0)
    result = np.full((1, series.bins), np.nan)
    np.divide(tokens, arrived, out=result[0], where=arrived > 0)
    return result


def _change(what: str, fact: Evidence | None, more: str) -> str:
    if fact is None or not fact.outside:
        return f"{what} at another rate or length than in the rest of the run"
    ratio = fact.inside / fact.outside - 1
    less = {"faster": "slower", "longer": "shorter"}[more]
    return f"{what} {abs(ratio):.0%} {more if ratio > 0 else less} than in the rest"


def _throttled(series: Series, replicas: list[int], inside: slice, drift: bool) -> str:
    """Return the reasons that came up in the span, in words; empty: none did."""
    masks = series.throttle[replicas]
    within, without = _masks(series, inside, drift)
    share = ((masks[:, within] & HARMFUL) != 0).mean()
    rest = ((masks[:, without] & HARMFUL) != 0).mean() if without.any() else 0.0
    if share - rest < 0.1:
        return ""
    seen = int(np.bitwise_or.reduce(masks[:, within], axis=None))
    return ", ".join(name for bit, name in _NAMES.items() if seen & bit)


def _clocks(clock: Evidence | None) -> str:
    return "" if clock is None else f" ({clock.text})"


def _clock_text(
    series: Series,
    replicas: list[int],
    inside: slice,
    clock: Evidence | None,
    drift: bool,
) -> str:
    within, without = _masks(series, inside, drift)
    masks = series.throttle[replicas]
    capped = [((masks[:, m] & POWER_CAP) != 0).mean() for m in (within, without)]
    why = (
        ", held by its power limit"
        if capped[0] > 0.5 and capped[0] - capped[1] > 0.3
        else ", and no throttle reason was reported"
    )
    return f"the GPU ran at a lower clock{_clocks(clock)}{why}"


def _host_text(facts: dict[str, Evidence]) -> str:
    text = "the GPU was idle while requests waited: it waited for its host"
    gap = facts.get("time between steps while work waited")
    if gap is not None and gap.inside - gap.outside > 5:
        text += f" ({gap.text})"
    clock = facts.get("SM clock")
    if clock is not None and clock.inside >= clock.outside:
        text += "; its clock did not fall, so the GPU itself was not slower"
    stolen = facts.get("CPU steal time")
    if stolen is not None and stolen.inside - stolen.outside > 2:
        text += "; the hypervisor gave processor time to others"
    return text
