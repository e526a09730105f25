"""`campaigns.search`: its options, its rules, and what it finds in simulated time."""

import math
from pathlib import Path

import pytest

from base.errors import NotGood, UserError
from benchmarks.rate_search import Engine, true_rate
from benchmarks.search import SimulatedRuns
from campaigns.own_limits import parse_limits
from campaigns.search import __main__ as search
from campaigns.search.forecast_search import ForecastSearch, RunLength
from campaigns.search.run import HopelessRule, SearchRun, read_search_run
from forecast.limits import Goodput, Limit, Limits, LimitState
from record.campaign import LimitResult, SearchResult
from record.folder import write_json
from record.structs import Verdict
from scenarios.gate import stopped
from scenarios.steady_state import Judgment
from tests.campaigns.test_outcome import _spec
from tests.forecast.made_up import write_run
from tests.run_folder import write_folder

TTFT = Limits(ttft_s=0.2, tpot_s=None, percentile=0.9)
COMMON = ["scenario=server", "engine=synthetic", "dataset=synthetic"]


def test_limits_of_the_users_own() -> None:
    limits = parse_limits(
        ["ttft_p99_ms=200", "e2e_p95.5_ms=5000", "goodput=0.9", "goodput.tpot_ms=40"]
    )
    assert limits is not None
    assert limits.percentiles == [Limit("ttft", 0.2, 0.99), Limit("e2e", 5.0, 0.955)]
    assert limits.goodput == Goodput(0.9, (("tpot", 0.04),))
    assert parse_limits([]) is None


@pytest.mark.parametrize(
    "options",
    [
        ["ttft_p99_ms=fast"],
        ["ttft_p0_ms=5"],
        ["goodput=1"],
        ["goodput=0.9"],
        ["goodput.ttft_ms=9"],
    ],
)
def test_limits_that_make_no_sense(options: list[str]) -> None:
    with pytest.raises(UserError):
        parse_limits(options)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["scenario=offline", *COMMON[1:]], "scenario=offline has no arrival rate"),
        ([*COMMON, "length_s=0"], "length_s=0: write a number above 0"),
        ([*COMMON, "queries=9", "length_s=9"], "set the same"),
        ([*COMMON, "queries=9", "queries=8"], "queries= is given twice"),
        ([*COMMON, "queries=x"], "queries=x: write a whole number from 1"),
        ([*COMMON, "run.min_queries=9"], "write queries= or length_s="),
        ([*COMMON, "quieries=9"], "did you mean queries="),
        ([*COMMON, "run.steps=false"], "forecasts from step records"),
        ([*COMMON, "goodput=0.9"], "goodput= needs a limit"),
        (
            ["scenario=server", "engine=endpoint", "engine.urls=[http://a:1]"],
            "engine=endpoint records no",
        ),
    ],
)
def test_bad_input(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search.main(arguments) == 2
    said = capsys.readouterr().err
    assert problem in said
    assert said.count("\n") == 1


def test_another_campaign_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "campaign.json").write_text(
        '{"kind": "scaling", "command": [], "scenario": "server", "started": ""}'
    )
    assert search.main([*COMMON, f"run.dir={tmp_path}"]) == 2
    assert "holds another campaign" in capsys.readouterr().err


def test_a_run_is_hopeless_once_no_later_query_can_help(tmp_path: Path) -> None:
    spec = _spec(50, in_time=False)
    for one in spec.samples[:6]:
        one.first_token_ns = one.issued_ns + 300_000_000
    folder = write_folder(tmp_path / "run", spec)
    # 5 of 50 may be above a p90; LoadGen takes element 45 of 0 to 49: 4 may.
    assert TTFT.percentiles[0].over_allowed(50) == 4
    rule = HopelessRule(TTFT, 50)
    assert rule(folder.path)
    assert (
        "6 queries are above the limit of TTFT p90, and the run allows 4 of 50"
        in rule.reason
    )
    assert not HopelessRule(TTFT, 80)(folder.path)
    good = Limits(
        ttft_s=None, tpot_s=None, percentile=0.9, goodput=Goodput(0.9, (("ttft", 0.2),))
    )
    assert HopelessRule(good, 50)(folder.path)
    assert not HopelessRule(good, 60)(folder.path)


def test_a_valid_run_of_full_length_is_never_rejected() -> None:
    growing = Judgment(word="growing", reason="The queue grew.")
    run = SearchRun(rate=1.0, queries=9, steady=growing, full=True, valid=True)
    assert run.holds
    run.full = False
    assert not run.holds
    assert run.reason == "The queue grew."


def test_a_stopped_run_confirms_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", 30, queries=200)
    passed = Verdict(
        outcome="passed", degraded=False, submission_candidate=False, relaxed=[]
    )
    write_json(folder.verdict, passed)
    whole = read_search_run(folder.path, 30.0, 200, TTFT, "")
    assert not whole.problem
    assert whole.states[0].name == "TTFT p90"
    assert whole.evidence is not None
    assert not whole.stopped
    write_json(folder.verdict, stopped(folder, "stopped by the campaign"))
    run = read_search_run(folder.path, 30.0, 200, TTFT, "too slow")
    assert run.stopped == run.reason == "too slow"
    assert not run.holds
    assert not run.valid


def test_the_result_is_one_line() -> None:
    result = SearchResult(
        target_qps=12.0,
        sustained_qps=11.7,
        valid_qps=11.2,
        estimate_qps=11.9,
        low_qps=11.5,
        high_qps=12.3,
        limiting="TPOT p90",
        limits=[
            LimitResult(name="TPOT p90", value=36, limit=40, unit="ms", headroom=0.1)
        ],
    )
    line = search.result_line(result)
    assert "sustained rate 11.7 queries/s, VALID rate 11.2 queries/s" in line
    assert "limited by TPOT p90 (36 of 40 ms, headroom 10.0%)" in line
    assert "95% interval 11.5 to 12.3" in line
    assert "\n" not in line


ENGINE = Engine(
    step_s=0.02,
    prefill_s=0.0,
    decode_s=1e-4,
    max_seqs=32,
    tokens=16,
    prompt=100,
    ttft_s=0.25,
    tpot_s=0.04,
)


@pytest.mark.integration
def test_the_highest_rate_is_found_in_three_runs() -> None:
    limits = Limits(ttft_s=0.25, tpot_s=0.04, percentile=0.9)
    runs = SimulatedRuns(engine=ENGINE, limits=limits, seed=3)
    found = ForecastSearch(make=runs, limits=limits, length=RunLength(queries=1500))
    result = found.find()
    true = true_rate(ENGINE)
    assert runs.runs <= 3
    assert result.sustained_qps == pytest.approx(true, rel=0.08)
    assert result.low_qps is not None
    assert result.high_qps is not None
    assert 0.97 * result.low_qps < true < 1.03 * result.high_qps
    assert result.limiting in ("TTFT p90", "TPOT p90")
    assert all(limit.headroom >= 0 for limit in result.limits)


@pytest.mark.integration
def test_a_length_that_shows_no_steady_state_is_refused_after_the_probe() -> None:
    limits = Limits(ttft_s=0.25, tpot_s=0.04, percentile=0.9)
    runs = SimulatedRuns(engine=ENGINE, limits=limits, seed=3)
    found = ForecastSearch(make=runs, limits=limits, length=RunLength(queries=120))
    with pytest.raises(NotGood, match="would be too short"):
        found.find()
    assert runs.runs == 1


def test_states_say_what_was_missed() -> None:
    state = LimitState("TTFT p90", 250.0, 200.0, "ms", 1.25)
    assert state.headroom == pytest.approx(-0.25)
    run = SearchRun(rate=1.0, queries=9, states=[state])
    assert run.reason == "TTFT p90 is 250 ms, limit 200"
    assert math.isclose(state.load, 1.25)
