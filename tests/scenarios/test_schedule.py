import json
from pathlib import Path

import pytest

from scenarios.rules import rules
from scenarios.schedule import (
    ServerSchedule,
    offline_samples,
    singlestream_expected_s,
    singlestream_queries,
)
from tests.submission.trees import unpack

SCHEDULE = ServerSchedule(
    seed=rules("llama3_1-8b", "Server")["schedule_rng_seed"],
    pass_queries=13_368,
    min_duration_s=600,
)


def test_schedule_is_that_of_loadgen(tmp_path: Path) -> None:
    log = unpack(tmp_path, source=False).result("Server").performance.detail_log
    lines = [json.loads(line[9:]) for line in log.read_text().splitlines()]
    logged = {line["key"]: line["value"] for line in lines}
    arrivals = SCHEDULE.arrivals(logged["effective_target_qps"])
    assert arrivals.queries == logged["generated_query_count"] == 13_368
    # LoadGen cuts each gap to whole ns.
    assert arrivals.duration_s * 1e9 == pytest.approx(
        logged["generated_query_duration"], abs=13_368
    )


@pytest.mark.parametrize(
    ("rate", "queries"), [(5, 13_368), (22.075, 13_368), (22.076, 26_736), (24, 26_736)]
)
def test_queries_are_whole_passes(rate: float, queries: int) -> None:
    assert SCHEDULE.arrivals(rate).queries == queries


def test_efficient_rates_are_the_highest_of_their_passes() -> None:
    rates = SCHEDULE.efficient_rates(4)
    assert [r.target_qps for r in rates] == [22.075, 44.099, 66.444, 88.734]
    assert [r.queries // 13_368 for r in rates] == [1, 2, 3, 4]
    assert all(
        SCHEDULE.arrivals(r.target_qps + 0.002).queries > r.queries for r in rates
    )


def test_offline_samples_are_whole_passes() -> None:
    assert offline_samples(20, 13_368, 600) == 13_368
    assert offline_samples(450, 13_368, 600) == 23 * 13_368


@pytest.mark.parametrize(
    ("expected_ms", "queries"),
    [(100, 15_000), (110, 15_000), (130, 10_000), (230, 10_000), (250, 5_000)],
)
def test_singlestream_queries_are_those_that_loadgen_logged(
    expected_ms: float, queries: int
) -> None:
    assert singlestream_queries(expected_ms / 1000, 5000, 600) == queries


@pytest.mark.parametrize("measured_s", [0.02, 0.1, 0.121, 0.135, 0.8, 3.0])
def test_singlestream_expects_what_makes_it_just_long_enough(measured_s: float) -> None:
    expected_s = singlestream_expected_s(measured_s, 5000, 600)
    queries = singlestream_queries(expected_s, 5000, 600)
    assert queries * measured_s >= 600
    assert (queries - 5000) * measured_s < 1.05 * 600
