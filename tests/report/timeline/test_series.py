"""Series compared with sums that are made one request and one moment at a time."""

import numpy as np
import pytest

from report.timeline.analysis import Analysis
from report.timeline.grid import Readings
from report.timeline.series import (
    Inputs,
    Requests,
    make_series,
    width_for,
)


def some_inputs(count: int = 40, replicas: int = 3) -> Inputs:
    """Return random requests of a few replicas, one of which was never answered."""
    draw = np.random.default_rng(1)
    arrived = np.sort(draw.uniform(0, 20, count))
    arrived[0] = 0
    first = arrived + draw.uniform(0.01, 2, count)
    completed = first + draw.uniform(0.5, 4, count)
    first[5] = completed[5] = np.nan
    return Inputs(
        requests=Requests(
            replica=draw.integers(0, replicas, count),
            arrived=arrived,
            first=first,
            completed=completed,
            prompt_tokens=draw.integers(100, 900, count),
            output_tokens=draw.integers(2, 129, count),
            outside=draw.uniform(0, 0.01, count),
        ),
        names=[f"replica {i}" for i in range(replicas)],
        host=np.zeros(replicas, np.int64),
        hosts=["n1"],
        readings={
            "waiting": Readings(
                t_s=np.array([0.5, 1.5, 2.5]),
                replica=np.array([1, 1, 2]),
                value=np.array([4.0, 6.0, np.nan]),
            ),
            "throttle_reasons": Readings(
                t_s=np.array([0.5, 1.5]),
                replica=np.array([1, 1]),
                value=np.array([4.0, 8.0]),
            ),
        },
    )


def test_series_equal_sums_over_moments() -> None:
    inputs, width = some_inputs(), 2.0
    series = make_series(inputs, width)
    requests = inputs.requests
    moments = np.arange(0.0005, series.bins * width, 0.001)
    for replica in range(3):
        own = requests.replica == replica
        for place in range(series.bins):
            begin, end = place * width, (place + 1) * width
            came = own & (requests.arrived >= begin) & (requests.arrived < end)
            assert series.arrivals[replica, place] == came.sum() / width
            now = moments[(moments >= begin) & (moments < end)][:, None]
            decoding = own & (requests.first <= now) & (now < requests.completed)
            assert series.decoding[replica, place] == pytest.approx(
                decoding.sum(axis=1).mean(), abs=0.02
            )
            held = decoding.sum(axis=0)
            if held.sum() > 100:
                step = np.nansum(held * requests.tpot) / held.sum()
                assert series.step_s[replica, place] == pytest.approx(step, rel=0.02)


def test_telemetry_is_averaged_and_gaps_stay_unknown() -> None:
    series = make_series(some_inputs(), 2.0)
    waiting = series.gauge("waiting")
    assert waiting[1, 0] == 5
    assert np.isnan(waiting[2]).all()
    assert np.isnan(waiting[1, 1:]).all()
    assert np.isnan(series.gauge("power_w")).all()
    assert series.throttle[1, 0] == 12


def test_all_requests_are_in_the_series() -> None:
    inputs = some_inputs()
    series = make_series(inputs, 0.5)
    assert series.arrivals.sum() * 0.5 == 40
    assert series.completions.sum() * 0.5 == 39
    total = inputs.requests.prompt_tokens + inputs.requests.output_tokens
    assert series.offered_tokens.sum() * 0.5 == total.sum()


@pytest.mark.parametrize(("wall", "width"), [(600, 2), (60, 1), (30, 1), (7, 0.5)])
def test_width_is_one_that_readers_count_with(wall: float, width: float) -> None:
    assert width_for(wall, 300, min(1.0, wall / 20)) == width


def test_recorded_run_shows_the_gpu_waiting_for_its_host(recorded: Analysis) -> None:
    inputs = recorded.inputs
    series = make_series(inputs, 5.0)
    assert len(inputs.requests) == 31937
    assert (inputs.ttft_limit_s, inputs.tpot_limit_s) == (0.5, 0.03)
    host, before = slice(8, 16), slice(2, 7)
    busy = series.gauge("utilization_pct")[0]
    clock = series.gauge("sm_clock_mhz")[0]
    assert busy[before].mean() > 97
    assert busy[host].mean() < 85
    assert clock[host].mean() > clock[before].mean()
    assert series.step_s[0, host].mean() > 1.5 * series.step_s[0, before].mean()
