"""Searches the rate that each number of replicas sustains, and confirms it."""

from collections.abc import Collection

from base.log import logger
from campaigns.outcome import Trial
from campaigns.scaling.options import CampaignOptions
from campaigns.scaling.rate_search import Lengths, NoRateError, Search
from campaigns.series import FinishedRun, RunSeries, interleaved_order
from conf.schema import Config, RunKind
from record.campaign import CampaignSize

_LOG = logger(__name__)

_STEPS_DOWN = 12


def find_rates(
    options: CampaignOptions, config: Config, series: RunSeries
) -> list[CampaignSize]:
    """Search the rate of each size and confirm it."""
    found: dict[int, CampaignSize] = {}
    rates: dict[int, float] = {}
    searches: dict[int, Search] = {}
    start = config.scenario.target_qps or 1.0
    for size in options.sizes:
        searches[size] = search = _search(options, config, series, size)
        try:
            rates[size] = search.highest(start * size)
            start = rates[size] / size
        except NoRateError as error:
            found[size] = CampaignSize(
                replicas=size, reason=f"no rate was found: {error}"
            )
            _LOG.info("%d replica(s): %s", size, found[size].reason)
    for size, reason in _confirm(options, series, searches, rates).items():
        found[size] = CampaignSize(replicas=size, reason=f"no rate was found: {reason}")
    for size, rate in rates.items():
        if size not in found:
            own = _at(series, size, rate, searches[size].queries)
            found[size] = CampaignSize(
                replicas=size,
                sustained_qps=sum(map(_arrived, own)) / len(own),
                runs=len(own),
            )
    for size, result in found.items():
        result.valid_qps = max(
            (
                _arrived(made)
                for made in series.finished
                if made.record.replicas == size and made.trial.within_limits
            ),
            default=None,
        )
    return [found[size] for size in options.sizes]


def _search(
    options: CampaignOptions, config: Config, series: RunSeries, size: int
) -> Search:
    fixed = config.run.kind is RunKind.full

    def probe(rate: float, queries: int) -> Trial:
        return series.run(
            size,
            "search",
            rate=rate,
            queries=None if fixed else queries,
            progress=_progress(search, series, size),
        ).trial

    floor = options.samples * size if options.samples else config.run.min_queries
    lengths = Lengths(longest_s=options.longest_s)
    lengths.floor = max(lengths.floor, floor or 0)
    lengths.fixed = fixed
    # The probe reads the stage of the search that calls it.
    search = Search(probe=probe, tolerance=options.tolerance, lengths=lengths)
    return search


def _progress(search: Search, series: RunSeries, size: int) -> str:
    """Return where a search is, and how much at most is left of its stage."""
    stage = search.stage
    rates, runs = stage.rates_left, stage.runs_left
    sides = ((stage.good, "sustained"), (stage.bad, "missed"))
    found = [f"{rate:.4g} {word}" for rate, word in sides if rate is not None]
    words = [
        f"{stage.name} search: {', '.join(found) or 'no rate decided yet'}",
        f"at most {rates} rate{'s' * (rates > 1)} left in {runs} runs",
    ]
    own = [m.record.seconds for m in series.finished if m.record.replicas == size]
    if own and len(found) == len(sides):
        words.append(f"about {_duration(rates * own[-1])}")
    if not search.lengths.fixed:
        longest = runs * search.lengths.longest_s
        words.append(f"never above {_duration(longest)} of arrivals")
    return ", ".join(words)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _confirm(
    options: CampaignOptions,
    series: RunSeries,
    searches: dict[int, Search],
    rates: dict[int, float],
) -> dict[int, str]:
    """Repeat runs at `rates`, lower those that fail; return why sizes have none."""
    given_up: dict[int, str] = {}
    open_ = set(rates)
    for _ in range(_STEPS_DOWN):
        for _, size in interleaved_order(sorted(open_), options.runs, options.seed):
            rate, search = rates[size], searches[size]
            made = _at(series, size, rate, search.queries)
            bad = any(not one.trial.sustained for one in made)
            if size in given_up or bad or len(made) >= options.runs:
                continue
            again = series.run(
                size,
                "confirm",
                rate=rate,
                queries=None if search.lengths.fixed else search.queries,
                note=series.expect(_open(options, series, searches, rates, open_)),
            )
            if again.trial.stop_reason:
                given_up[size] = again.trial.stop_reason
        open_ = {
            size
            for size in open_ - set(given_up)
            if not all(
                one.trial.sustained
                for one in _at(series, size, rates[size], searches[size].queries)
            )
        }
        if not open_:
            return given_up
        for size in open_:
            rates[size] /= searches[size].step
    return given_up | {
        size: f"no rate down to {rates[size]:.4g} queries/s was sustained by"
        f" {options.runs} runs"
        for size in open_
    }


def _open(
    options: CampaignOptions,
    series: RunSeries,
    searches: dict[int, Search],
    rates: dict[int, float],
    sizes: Collection[int],
) -> list[tuple[int, float, int | None]]:
    """Return the runs that confirm the rates if none of them fails."""
    left: list[tuple[int, float, int | None]] = []
    for size in sizes:
        search = searches[size]
        made = _at(series, size, rates[size], search.queries)
        if all(one.trial.sustained for one in made):
            queries = None if search.lengths.fixed else search.queries
            left += [(size, rates[size], queries)] * (options.runs - len(made))
    return left


def _at(series: RunSeries, size: int, rate: float, queries: int) -> list[FinishedRun]:
    """Return the runs of full length at a rate."""
    return [
        made
        for made in series.finished
        if (made.record.replicas, made.record.rate) == (size, rate)
        and made.record.queries in (None, queries)
    ]


def _arrived(made: FinishedRun) -> float:
    """Return the rate at which the queries of a run arrived, in queries/s."""
    return made.trial.steady.rate_per_s
