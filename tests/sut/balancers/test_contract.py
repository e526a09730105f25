"""What every balancer must do."""

from collections import Counter

import pytest

from conf.schema import BalancerName
from sut.balancers import make_balancer
from sut.dispatcher import ReplicaLoad, Sample


def _loads(*tokens: int) -> list[ReplicaLoad]:
    return [
        ReplicaLoad(number, "n", None, outstanding_tokens=count)
        for number, count in enumerate(tokens)
    ]


@pytest.mark.parametrize("name", list(BalancerName))
class TestBalancer:
    def test_chooses_one_of_the_candidates(self, name: BalancerName) -> None:
        balancer, loads = make_balancer(name, streaming=True), _loads(5, 0, 9)
        for _ in range(20):
            assert balancer.choose(loads) in loads
            assert balancer.choose(loads[1:2]) is loads[1]

    def test_does_not_change_them(self, name: BalancerName) -> None:
        loads = _loads(5, 0, 9)
        make_balancer(name, streaming=True).choose(loads)
        assert loads == _loads(5, 0, 9)

    def test_equal_replicas_get_equal_shares(self, name: BalancerName) -> None:
        balancer, loads = make_balancer(name, streaming=True), _loads(0, 0, 0, 0)
        given: Counter[int] = Counter()
        for _ in range(400):
            chosen = balancer.choose(loads).replica
            loads[chosen].outstanding_tokens += 100
            loads[chosen].outstanding_prefills += 1
            given[chosen] += 1
        assert set(given.values()) == {100}


def test_least_outstanding_tokens_spares_the_busy() -> None:
    balancer = make_balancer(BalancerName.least_outstanding_tokens, streaming=False)
    assert balancer.choose(_loads(500, 499, 900)).replica == 1


def test_round_robin_goes_on_where_a_replica_is_gone() -> None:
    balancer, loads = (
        make_balancer(BalancerName.round_robin, streaming=False),
        _loads(0, 0, 0),
    )
    order = [balancer.choose(loads).replica for _ in range(4)]
    assert order == [0, 1, 2, 0]
    assert balancer.choose([loads[0], loads[2]]).replica == 2


def test_prefill_aware_spares_a_queue_of_prompts() -> None:
    balancer = make_balancer(None, streaming=True)
    loads = _loads(100, 900)
    loads[0].outstanding_prefills = 1
    assert balancer.choose(loads).replica == 1


def test_capacity_weighted_gives_the_faster_more() -> None:
    balancer = make_balancer(BalancerName.capacity_weighted, streaming=False)
    loads = _loads(0, 0)
    for load, tokens in zip(loads, (1000, 500), strict=True):
        load.finished, load.finished_tokens, load.busy_ns = 100, tokens, 10**9
    given = [0, 0]
    for _ in range(300):
        chosen = balancer.choose(loads).replica
        loads[chosen].outstanding_tokens += 100
        given[chosen] += 1
    assert given == [200, 100]


def test_the_default_suits_the_scenario() -> None:
    names = [
        type(make_balancer(None, streaming)).__name__ for streaming in (True, False)
    ]
    assert names == ["PrefillAware", "LeastOutstandingTokens"]


def _hand(load: ReplicaLoad, count: int) -> None:
    load.outstanding = {seq: Sample(seq, seq, seq, 100, 0) for seq in range(count)}


def test_prefill_aware_gives_a_slow_replica_fewer() -> None:
    balancer = make_balancer(BalancerName.prefill_aware, streaming=True)
    loads = _loads(0, 0)
    for load, tokens in zip(loads, (1000, 500), strict=True):
        load.finished, load.finished_tokens, load.busy_ns = 100, tokens, 10**9
        _hand(load, 10)
    _hand(loads[0], 15)
    assert balancer.choose(loads).replica == 0


def test_a_replica_that_has_shown_no_speed_counts_as_the_mean() -> None:
    balancer = make_balancer(BalancerName.capacity_weighted, streaming=True)
    loads = _loads(2000, 1500, 1400)
    for load, tokens in zip(loads, (1000, 500), strict=False):
        load.finished, load.finished_tokens, load.busy_ns = 100, tokens, 10**9
    # 2 s, 3 s, and 1.87 s at the mean of 750 tokens/s.
    assert balancer.choose(loads).replica == 2
