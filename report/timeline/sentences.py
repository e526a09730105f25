"""The analysis of a run over time, in sentences."""

from report.timeline.advice import idle_in_bursts, ms, rate_of, share
from report.timeline.analysis import Analysis
from report.timeline.causes import Evidence
from report.timeline.episodes import Episode
from report.timeline.slo import Account, Part

_WORDS = {
    "arrivals": "change of the arrival rate",
    "prompts": "change of the prompt length",
    "throttled": "GPU throttled",
    "clock": "lower GPU clock",
    "host": "GPU waited for its host",
    "gpu": "GPU slower",
    "kv": "KV cache full",
    "network": "slow network",
    "fenced": "replica fenced",
    "cold": "cold start",
    "unknown": "slower steps",
}
"""Causes in few words."""
_SHOWN = 6
_POINTS = 2.0
"""Difference of a share of processors, in points, that is news."""
_SMALL = 0.05
"""What is below it in both is nothing, in every unit of the evidence."""


def cause_words(one: Episode) -> str:
    """Return the cause of an episode in few words."""
    return _WORDS[one.cause]


def where_words(one: Episode) -> str:
    """Return where an episode was."""
    if not one.where:
        return "all hosts"
    more = f" and {len(one.where) - _SHOWN} more" if len(one.where) > _SHOWN else ""
    return ", ".join(one.where[:_SHOWN]) + more


def when_words(one: Episode) -> str:
    """Return when an episode was."""
    if one.drift:
        return "over the whole run"
    return f"from {one.begin_s:,.0f} to {one.end_s:,.0f} s"


def title_of(one: Episode) -> str:
    """Return an episode as a heading."""
    words = cause_words(one)
    kind = "Drift" if one.drift else "Episode"
    return f"{kind}: {words} {when_words(one)} ({where_words(one)})"


def evidence_of(one: Episode) -> str:
    """Return what was measured in an episode and outside of it."""
    inside = (
        "in the last quarter of the run instead of the first"
        if one.drift
        else "in the episode instead of the rest of the run"
    )
    facts = "; ".join(fact.text for fact in one.evidence if _differs(fact))
    chance = "" if one.p <= 0 else f"; p-value {chance_words(one.p)}"
    return f"{inside}: {facts or one.text}{chance}"


def chance_words(p: float) -> str:
    """Return a probability as a reader wants to see it."""
    return "< 1e-9" if p < 1e-9 else f"{p:.1g}"


def _differs(fact: Evidence) -> bool:
    """Return whether a measure differs by 2%: what is alike is left out.

    Shares of processors vary by a point or two at all times.
    """
    apart = abs(fact.inside - fact.outside)
    larger = max(abs(fact.inside), abs(fact.outside))
    if fact.unit == "%" and "CPU" in fact.name and apart < _POINTS:
        return False
    return larger > _SMALL and apart > 0.02 * larger


def account_sentence(account: Account, most: int | None = None) -> str:
    """Return the account of a missed limit: numbers that add up.

    Args:
        account: of the limit.
        most: bursts of arrivals to name, the largest first; None for all of them. The
            others are added up.
    """
    name = share(account.percentile)
    text = (
        f"{account.late:,} of {account.requests:,} requests took longer than"
        f" {ms(account.limit_s)} ({account.allowed:,} are allowed; {name}"
        f" {ms(account.value_s)}): "
    )
    bursts = [part for part in account.parts if part.kind == "burst"]
    bursts.sort(key=lambda part: -part.late)
    few = [] if most is None or len(bursts) <= most + 1 else bursts[most:]
    shown = [part for part in account.parts if not any(part is one for one in few)]
    texts = [_part(part, account) for part in shown]
    if few:
        late = sum(part.late for part in few)
        # Before "elsewhere", which comes last.
        place = len(texts) - (shown[-1].kind == "rest")
        texts.insert(
            place, f"{_amount(late, account)} in {len(few)} other bursts of arrivals"
        )
    text += ", ".join(texts) + "."
    named = [part for part in account.parts if part.kind != "rest"]
    if named and account.usual_s == account.usual_s:  # NaN: nothing is left
        verdict = "within" if account.usual_s <= account.limit_s else "above"
        which = "it" if len(named) == 1 else "all of these"
        text += (
            f" Without {which} {name} would have been {ms(account.usual_s)},"
            f" {verdict} the limit."
        )
    return text


def _part(part: Part, account: Account) -> str:
    """Return one part of the late requests."""
    amount = _amount(part.late, account)
    if part.episode is not None:
        one = part.episode
        until = (
            f"; its queue was gone at {part.end_s:,.0f} s"
            if part.end_s > one.end_s + 1
            else ""
        )
        return (
            f"{amount} in the episode {when_words(one)} on {where_words(one)}"
            f" ({cause_words(one)}{until})"
        )
    if part.kind == "rest":
        return f"{amount} elsewhere"
    return (
        f"{amount} in the burst of arrivals from {part.begin_s:,.0f} to"
        f" {part.end_s:,.0f} s ({part.arrived_per_s:.3g}/s while its queue grew)"
    )


def _amount(late: int, account: Account) -> str:
    ratio = late / account.late
    return f"{late:,} ({'<1%' if ratio < 0.005 else f'{ratio:.0%}'})"


def burst_sentence(analysis: Analysis) -> str:
    """Return how the GPU worked in the bursts of arrivals; empty if it was busy."""
    idle = idle_in_bursts(analysis.accounts)
    if not idle:
        return ""
    low, high = f"{min(idle):.0f}", f"{max(idle):.0f}"
    span = low if low == high else f"{low} to {high}"
    return (
        f"in the bursts of arrivals the GPU was idle for {span}% of the time in which"
        " requests waited, so a part of their queue came from the host"
    )


def rate_sentence(analysis: Analysis) -> str:
    """Return how far the arrivals were above what the settings sustained."""
    capacity, safe = analysis.capacity, analysis.safe
    arrived = rate_of(analysis.inputs)
    if capacity is None:
        text = (
            "outside of episodes the run was never saturated, so the rate that these"
            " settings sustain is not known"
        )
    else:
        text = (
            f"{arrived:.4g}/s arrived; when saturated, these settings served"
            f" {capacity.per_s:.4g}/s ({capacity.low:.4g} to {capacity.high:.4g})"
        )
    if safe is not None and safe.per_s < arrived:
        over = [
            100 * (arrived / rate - 1) for rate in (safe.high, safe.per_s, safe.low)
        ]
        text += (
            f", and would meet the limits up to {safe.per_s:.4g}/s ({safe.low:.4g} to"
            f" {safe.high:.4g}): the arrival rate was {over[1]:.1f}% above that"
            f" ({over[0]:.1f} to {over[2]:.1f}%)"
        )
    if analysis.inputs.forecast_per_s is not None:
        value, low, high = analysis.inputs.forecast_per_s
        text += (
            f"; by the forecast from its steps, the limits would have been met up to"
            f" {value:.4g}/s ({low:.4g} to {high:.4g}, 90% interval)"
        )
    return text
