"""What to do next, with what it would gain and how to confirm it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from report.timeline.capacity import Capacity, Safe
from report.timeline.episodes import Episode
from report.timeline.fixes import FIXES
from report.timeline.series import Inputs
from report.timeline.slo import Account

_WIDE = 0.02
"""Half an interval of the sustained rate, relative, that a search can work with."""
_LONGEST = 8.0
_IDLE_PCT = 5.0
"""Least idle share of a GPU, while requests waited, that says something of its host."""


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
    cause: str = ""
    """Of an episode: advice that is its fix, though it follows from another finding."""


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
    text, confirm = FIXES[one.cause]
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
        definition="less time per output token over the run: "
        + (
            "its excess of the last quarter over the first x 2/3 x share of replicas"
            if one.drift
            else "its excess in the episode x the episode's share of the run and of the"
            " replicas"
        ),
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
    text, confirm = FIXES["host"]
    return [
        Advice(
            code="limits",
            where=[],
            text=f"{text}; in the bursts the GPU was idle for {mean:.0f}% of the time"
            f" in which requests waited; to confirm: {confirm}",
            value=round(capacity.per_s * mean / (100 - mean), 2),
            unit="requests/s",
            definition="more than these settings served when saturated, at most: as if"
            " the GPU had never been idle while requests waited",
            cause="host",
        )
    ]


def _slower_pct(inputs: Inputs, one: Episode) -> float:
    """Return by how much an episode lengthened the run's mean time per output token."""
    step = next((f for f in one.evidence if f.name == "time per output token"), None)
    if step is None or not step.outside or not inputs.wall_s:
        return 0.0
    excess = max(0.0, step.inside / step.outside - 1)
    replicas = len(one.replicas) / len(inputs.names)
    if one.drift:
        # From the middle of the first quarter to that of the last it is 3/4 of the
        # whole change. Over the run a line costs half of it.
        return 100 * excess * (2 / 3) * replicas
    return 100 * excess * one.length_s / inputs.wall_s * replicas


def _rate(
    inputs: Inputs,
    accounts: Sequence[Account],
    capacity: Capacity | None,
    safe: Safe | None,
) -> list[Advice]:
    """Return the rate that meets the limits, where the rest of the run missed them."""
    failing = [one for one in accounts if one.usual_s > one.limit_s or _rest(one)]
    if not failing:
        return []
    worst = max(failing, key=_rest)
    arrived = rate_of(inputs)
    forecast = inputs.forecast_per_s
    if forecast is not None and forecast[1] < arrived:
        return [_forecast(worst, arrived, forecast)]
    if capacity is None or safe is None or safe.per_s >= arrived:
        return [_guess(worst, arrived)]
    confirm = " or a search for the rate (mlperf-sut campaign search)"
    if inputs.steps is not None:
        confirm = (
            " a forecast from the steps of this run (mlperf-sut forecast)," + confirm
        )
    return [
        Advice(
            code="limits",
            where=[],
            text=f"lower the arrival rate to {safe.low:.3g}/s (scenario.target_qps):"
            f" requests arrived at {arrived:.3g}/s, and these settings served"
            f" {capacity.per_s:.3g}/s ({capacity.low:.3g} to {capacity.high:.3g}) when"
            " saturated, where no limit is met. They meet the limits up to"
            f" {safe.per_s:.3g}/s ({safe.low:.3g} to {safe.high:.3g}); the low end"
            " holds with other arrivals too; to confirm: a run of the same length at"
            f" that rate with another seed,{confirm}",
            value=_fewer(worst),
            unit="requests",
            definition=f"{_fewer_words(worst)}; the rate is that at which nine of ten"
            " simulated runs of this length, with Poisson arrivals, meet the"
            f" limits (the same model gives {safe.late_at_run:.1%} late at this run's"
            f" rate, where {_rest(worst) / worst.requests:.1%} were late outside of"
            " episodes)",
        )
    ]


def _forecast(
    worst: Account, arrived: float, forecast: tuple[float, float, float]
) -> Advice:
    """Return the rate that the run would have held by a forecast from its steps."""
    value, low, high = forecast
    return Advice(
        code="limits",
        where=[],
        text=f"lower the arrival rate to {low:.3g}/s (scenario.target_qps): by the"
        f" forecast from the steps of this run it would have met the limits up to"
        f" {value:.3g}/s ({low:.3g} to {high:.3g}, 90% interval), and requests arrived"
        f" at {arrived:.3g}/s; to"
        " confirm: a run of the same length at that rate with another seed, or a search"
        " for the rate (mlperf-sut campaign search)",
        value=_fewer(worst),
        unit="requests",
        definition=f"{_fewer_words(worst)}; the rate is that of forecast.json, the low"
        " end of its interval",
    )


def _fewer(worst: Account) -> int:
    return max(0, _rest(worst) - worst.allowed)


def _fewer_words(worst: Account) -> str:
    return (
        f"fewer late by {worst.limit} outside of episodes: all but the"
        f" {100 * (1 - worst.percentile):.3g}% that the limit allows"
    )


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
        " (mlperf-sut campaign search): the run does not show which rate these"
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
