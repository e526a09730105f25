"""The whole analysis of one run over time."""

from dataclasses import dataclass

from report.timeline.advice import Advice, advise
from report.timeline.capacity import Capacity, Safe, measure_capacity, safe_rate
from report.timeline.episodes import Episode, find_episodes
from report.timeline.series import Inputs, Series, make_series, width_for
from report.timeline.slo import Account, account

_BINS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What a run shows over time."""

    inputs: Inputs
    series: Series
    episodes: list[Episode]
    capacity: Capacity | None
    """What the settings sustained; None: the run does not show it."""
    safe: Safe | None
    """The rate that keeps the limits; only computed where one was missed."""
    accounts: list[Account]
    """Of the limits that were missed."""
    advice: list[Advice]


def analyze(inputs: Inputs) -> Analysis:
    """Return the analysis of a run."""
    series = make_series(inputs, width_for(inputs.wall_s, _BINS))
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
