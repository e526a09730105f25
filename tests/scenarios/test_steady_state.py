"""The judgment on steady states, on arrivals whose answer is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from record.structs import SampleRecord
from scenarios.steady_state import Judgment, judge_samples, judge_times
from tests.run_folder import START_NS, sample

Array = NDArray[np.float64]


def _arrivals(rate: float, seconds: float, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.exponential(1 / rate, int(rate * seconds)))


def _servers(issued: Array, servers: int, service_s: float) -> tuple[Array, Array]:
    """Return first tokens and completions of a queue before equal servers."""
    free = [0.0] * servers
    begun = []
    for moment in issued:
        place = free.index(min(free))
        begin = max(moment, free[place])
        free[place] = begin + service_s
        begun.append(begin)
    start = np.array(begun)
    return start + 0.01 * service_s, start + service_s


def _judge(
    load: float, latencies: float, *, servers: int = 10, seed: int = 0
) -> Judgment:
    """Judge a queue at a share of its capacity for so many service latencies."""
    service_s = 2.0
    issued = _arrivals(load * servers / service_s, latencies * service_s, seed)
    return judge_times(issued, *_servers(issued, servers, service_s))


def test_a_queue_below_its_capacity_is_steady() -> None:
    judged = _judge(0.7, 100)
    assert judged.word == "steady"
    assert judged.service_s == pytest.approx(2.0, rel=0.05)
    assert judged.latencies == pytest.approx(100, rel=0.1)
    assert judged.completed_per_s == pytest.approx(judged.arrived_per_s, rel=0.05)
    assert "The queue did not grow" in judged.reason


@pytest.mark.parametrize("load", [1.2, 2.0, 10.0])
def test_a_queue_above_its_capacity_grows(load: float) -> None:
    judged = _judge(load, 30, servers=60)
    assert judged.word == "growing"
    overload = (load - 1) * 60 / 2.0
    assert judged.growth_per_s == pytest.approx(overload, rel=0.4)
    assert judged.reason.startswith("The queue grew by")


def test_a_burst_that_fits_into_one_batch_is_too_short() -> None:
    # 64 queries within 0.3 s of an engine that holds 64, 5 s each.
    issued = np.linspace(0, 0.3, 64)
    judged = judge_times(issued, issued + 0.05, issued + 5)
    assert judged.word == "too_short"
    assert "0.06" in judged.reason


def test_a_gross_overload_shows_in_a_short_run_too() -> None:
    judged = _judge(2.0, 8, servers=60)
    assert judged.latencies < 10
    assert judged.word == "growing"


def test_how_often_it_is_right() -> None:
    """Some runs are unlucky; Poisson arrivals of 500 queries vary by 4.5%."""
    wrong = sum(_judge(0.8, 50, seed=s).word != "steady" for s in range(40))
    missed = sum(_judge(1.25, 80, seed=s).word != "growing" for s in range(40))
    assert wrong <= 2
    assert missed <= 2


def test_samples_that_never_came_back_are_a_queue() -> None:
    issued: Array = np.arange(400.0).astype(np.float64)
    done = issued + 1.0
    done[100:] = np.inf
    assert judge_times(issued, issued + 0.1, done).word == "growing"


def test_too_few_samples_and_none() -> None:
    assert judge_samples([]).word == "too_short"
    lines = [sample(i, issued_ns=START_NS + i * 10**9) for i in range(5)]
    judged = judge_samples(lines)
    assert judged.word == "too_short"
    assert "Only 5 samples" in judged.reason


def test_all_at_once_and_without_first_tokens() -> None:
    lines = [sample(i) for i in range(64)]
    assert judge_samples(lines).word == "too_short"


def test_lines_in_order_of_completion_give_the_same() -> None:
    lines: list[SampleRecord] = []
    for seq in range(200):
        issued = START_NS + seq * 100_000_000
        lines.append(
            sample(
                seq,
                issued_ns=issued,
                first_token_ns=issued + 1_000_000,
                completed_ns=issued + 50_000_000,
            )
        )
    assert judge_samples(lines) == judge_samples(reversed(lines))
    assert judge_samples(lines).word == "steady"
