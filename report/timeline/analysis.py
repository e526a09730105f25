"""The whole analysis of one run over time."""

from dataclasses import dataclass

from report.timeline.advice import Advice, advise
from report.timeline.capacity import Capacity, Safe, measure_capacity, safe_rate
from report.timeline.episodes import Episode, find_episodes
from report.timeline.series import Inputs, Series, make_series, width_for
from report.timeline.slo import Account, account

_BINS = 300
_SHORT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What a run shows over time."""

    inputs: Inputs
    series: Series
    episodes: list[Episode]
    capacity: Capacity | None
    """What the settings sustained; None: the run does not show it."""
    safe: Safe | None
    """The rate that meets the limits; only computed where one was missed."""
    accounts: list[Account]
    """Of the limits that were missed."""
    advice: list[Advice]


def bin_width(inputs: Inputs) -> float:
    """Return the width of the bins in which changes are looked for, in s.

    The time per output token of a request is a mean over its decode: in bins narrower
    than half of that, neighbors would hold the same requests. Step records have no such
    limit. Telemetry comes once a second; a run that is too short for bins of a second
    is looked at without it.
    """
    least = 1.0 if inputs.wall_s > _SHORT_S else 0.0
    if inputs.steps is None:
        least = max(least, inputs.service_s / 2)
    return width_for(inputs.wall_s, _BINS, least) or 1.0


def analyze(inputs: Inputs) -> Analysis:
    """Return the analysis of a run."""
    series = make_series(inputs, bin_width(inputs))
    episodes = find_episodes(inputs, series)
    capacity = measure_capacity(inputs, series, episodes) if inputs.poisson else None
    accounts = account(inputs, series, episodes, capacity)
    safe = safe_rate(inputs, capacity) if accounts and capacity else None
    return Analysis(
        inputs=inputs,
        series=series,
        episodes=episodes,
        capacity=capacity,
        safe=safe,
        accounts=accounts,
        advice=advise(inputs, episodes, accounts, capacity, safe),
    )
