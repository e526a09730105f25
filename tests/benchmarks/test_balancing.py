"""The defaults are what the simulation favors."""

import pytest

from benchmarks.balancing import (
    LIMITS_S,
    OFFLINE_PER_REPLICA,
    SLOW,
    TOKENS,
    ideal_s,
    offline,
    server,
)
from conf.clusters import BalancerName

pytestmark = pytest.mark.integration
SLOWDOWN = [1.0, 1.0, SLOW, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_offline_by_demand_all_finish_together() -> None:
    ideal = ideal_s(SLOWDOWN, OFFLINE_PER_REPLICA)
    policy = BalancerName.least_outstanding_tokens
    result = offline(SLOWDOWN, policy, OFFLINE_PER_REPLICA)
    assert ideal * 0.99 <= result.makespan_s <= ideal * 1.03
    equal = offline(
        SLOWDOWN, BalancerName.round_robin, OFFLINE_PER_REPLICA, by_demand=False
    )
    assert equal.makespan_s > ideal * 1.15, "the slow one works on when all are done"


def test_server_holds_a_rate_at_which_equal_shares_fail() -> None:
    ttft_s, tpot_s = LIMITS_S["Server"]
    held = server(SLOWDOWN, BalancerName.prefill_aware, 720, samples=20_000)
    assert held.ttft_s(99) <= ttft_s
    assert held.tpot_s(99, TOKENS) <= tpot_s
    equal = server(SLOWDOWN, BalancerName.round_robin, 720, samples=20_000)
    assert equal.ttft_s(99) > ttft_s or equal.tpot_s(99, TOKENS) > tpot_s


def test_without_load_latency_is_that_of_the_engine() -> None:
    result = server([1.0], BalancerName.prefill_aware, 0.1, samples=50)
    assert 0.005 < result.ttft_s(50) < 0.03
    assert result.tpot_s(50, TOKENS) == pytest.approx(0.00502, rel=0.02)
