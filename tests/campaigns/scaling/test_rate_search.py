"""The search for a rate, on answers that are known."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from campaigns.outcome import Trial
from campaigns.scaling.rate_search import Lengths, NoRateError, Search, Stage
from scenarios.steady_state import Judgment, Steadiness

SERVICE_S = 2.0


def _trial(word: Steadiness, *, within_limits: bool = True, rate: float = 1.0) -> Trial:
    return Trial(
        within_limits=within_limits,
        steady=Judgment(
            word=word,
            reason=word,
            service_s=SERVICE_S,
            rate_per_s=rate,
            arrived_per_s=rate,
            completed_per_s=rate,
            finished_per_s=rate,
        ),
        ttft_limit_s=0.5,
    )


def _system(limit: float, tried: list[tuple[float, int]]) -> Callable[..., Trial]:
    """Return a probe of a system that sustains `limit` queries/s."""

    def probe(rate: float, queries: int) -> Trial:
        tried.append((rate, queries))
        if queries / rate < 10 * SERVICE_S:
            # As a burst that fits into one batch: the limits are kept at any rate.
            return _trial("too_short", rate=min(rate, limit))
        if rate <= limit:
            return _trial("steady", rate=rate)
        return _trial("growing", within_limits=False, rate=limit)

    return probe


def _search(probe: Callable[..., Trial], **options: float) -> Search:
    longest = options.pop("longest_s", 1e6)
    return Search(
        probe=probe,
        tolerance=options.pop("tolerance", 0.05),
        lengths=Lengths(longest_s=longest),
    )


@pytest.mark.parametrize("limit", [0.3, 1.0, 7.7, 100.0, 4000.0])
@pytest.mark.parametrize("start", [1.0, 20.0])
def test_the_highest_sustained_rate_is_found(limit: float, start: float) -> None:
    tried: list[tuple[float, int]] = []
    search = _search(_system(limit, tried))
    found = search.highest(start)
    assert limit / 1.017 <= found <= limit
    # The runs at its end were long and about equally so.
    assert tried[-2][1] == pytest.approx(search.queries, rel=0.05)
    assert search.queries / found > 20 * SERVICE_S


def test_a_short_run_that_keeps_the_limits_does_not_count() -> None:
    tried: list[tuple[float, int]] = []
    # 100 queries at 20/s last 5 s: too short for any rate to fail.
    found = _search(_system(12.0, tried)).highest(20.0)
    assert 12 / 1.017 <= found <= 12
    assert tried[0] == (20.0, 100)
    assert tried[1][1] > 20 * SERVICE_S * tried[1][0]


def test_a_run_that_stays_too_short_ends_the_search() -> None:
    search = _search(lambda rate, queries: _trial("too_short", rate=rate))
    with pytest.raises(NoRateError, match=r"too short|not bring|was sustained"):
        search.highest(1.0)


def test_a_run_that_would_be_too_long_is_not_made() -> None:
    tried: list[tuple[float, int]] = []
    search = _search(_system(5.0, tried), longest_s=300.0)
    with pytest.raises(NoRateError, match="longer than longest_s=300") as error:
        search.highest(4.0)
    assert "short runs sustained" in str(error.value)
    assert all(queries / rate <= 300.1 for rate, queries in tried)


def test_a_service_that_lasts_longer_than_runs_may() -> None:
    tried: list[tuple[float, int]] = []
    search = _search(_system(50.0, tried), longest_s=30.0)
    with pytest.raises(NoRateError, match="would have to last 55 s"):
        search.highest(40.0)


def test_far_above_the_rate_no_long_run_is_made() -> None:
    tried: list[tuple[float, int]] = []
    found = _search(_system(5.0, tried), longest_s=2400.0).highest(1000.0)
    assert 5 / 1.017 <= found <= 5
    # At 5 completions a second: what is done in 2,400 s and what is open after them.
    assert max(queries for _, queries in tried) <= 2 * 2400 * 5


def test_no_rate_keeps_the_limits() -> None:
    search = _search(
        lambda rate, queries: _trial("steady", within_limits=False, rate=rate)
    )
    with pytest.raises(NoRateError, match=r"a run at .* would have to last"):
        search.highest(1.0)


def test_every_rate_keeps_the_limits() -> None:
    search = _search(lambda rate, queries: _trial("steady", rate=rate))
    with pytest.raises(NoRateError, match="start at a higher"):
        search.highest(1.0)


def test_what_no_rate_can_help_ends_the_search_at_once() -> None:
    tried: list[float] = []

    def probe(rate: float, queries: int) -> Trial:
        tried.append(rate)
        broken = _trial("too_short", within_limits=False)
        broken.stop_reason = "3 samples were lost"
        return broken

    with pytest.raises(NoRateError, match="3 samples were lost"):
        _search(probe).highest(1.0)
    assert tried == [1.0]


def test_too_few_queries_for_loadgen_are_doubled() -> None:
    tried: list[int] = []

    def probe(rate: float, queries: int) -> Trial:
        tried.append(queries)
        trial = _trial("steady", within_limits=False, rate=rate)
        trial.too_few = queries < 900
        trial.within_limits = not trial.too_few and rate < 30
        return trial

    assert 29 < _search(probe, tolerance=0.9, longest_s=1e9).highest(20.0) <= 30
    assert max(tried) >= 900


def test_full_runs_have_the_length_that_the_rules_ask_for() -> None:
    tried: list[int] = []

    def probe(rate: float, queries: int) -> Trial:
        tried.append(queries)
        trial = _trial("too_short", within_limits=rate <= 8, rate=rate)
        trial.full = True
        return trial

    search = _search(probe)
    search.lengths.fixed = True
    assert 8 / 1.017 <= search.highest(5.0) <= 8
    assert len(set(tried)) == 1


@pytest.mark.parametrize(
    ("tolerance", "percentile", "least"),
    [(0.05, 0.9, 4900), (0.05, 0.99, 23760), (0.2, 0.9, 307)],
)
def test_the_tolerance_asks_for_a_number_of_queries(
    tolerance: float, percentile: float, least: int
) -> None:
    lengths = Lengths(longest_s=1e9, percentile=percentile, held=1e9, service_s=0.001)
    assert lengths.queries(1.0, tolerance) == pytest.approx(least, abs=1)
    # With few samples at once waits vary more.
    lengths.held = 12.0
    if tolerance < 0.15:
        assert lengths.queries(1.0, tolerance) == pytest.approx(2 * least, abs=2)


@pytest.mark.parametrize("limit", [0.3, 7.7, 100.0, 4000.0])
@pytest.mark.parametrize("start", [1.0, 20.0])
def test_what_is_left_bounds_what_comes(limit: float, start: float) -> None:
    """Each run shows the bracket so far and bounds the runs that still come."""
    probe = _system(limit, [])
    seen: list[tuple[Stage, Stage, int, int]] = []

    def watched(rate: float, queries: int) -> Trial:
        stage = search.stage
        assert stage.good is None or stage.good < rate
        assert stage.bad is None or rate < stage.bad
        seen.append((stage, replace(stage), stage.rates_left, stage.runs_left))
        return probe(rate, queries)

    search = _search(watched)
    search.highest(start)
    stages = list({id(stage): stage for stage, *_ in seen}.values())
    assert [stage.name for stage in stages] == ["rough", "close"]
    for stage in stages:
        own = [entry[1:] for entry in seen if entry[0] is stage]
        for place, (then, rates, runs) in enumerate(own):
            assert len(own) - place <= runs
            if then.good is not None and then.bad is not None:
                assert stage.tried - then.tried == rates
            else:
                assert stage.tried - then.tried < rates


def test_a_bracket_is_halved_as_often_as_given() -> None:
    stage = Stage(step=2.0, good=1.0, bad=256.0, tried=2)
    assert (stage.rates_left, stage.runs_left) == (3, 12)
    stage.bad, stage.runs = 16.0, 1
    assert (stage.rates_left, stage.runs_left) == (2, 7)
    stage.good = None
    assert stage.rates_left == 28
    stage.good, stage.bad, stage.tried = 1.0, 1e30, 29
    assert stage.rates_left == 1
