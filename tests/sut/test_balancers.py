"""What every balancer must do."""

from collections import Counter

import pytest

from base.benchmark import MAX_TOKENS
from conf.clusters import BalancerName
from sut.balancers import make_balancer
from sut.coordinator.dispatcher import ReplicaLoad, Sample


def _loads(*prompts: int) -> list[ReplicaLoad]:
    """Return replicas that hold one sample each, of so many prompt tokens; 0: none."""
    loads = [ReplicaLoad(number, "n", None) for number in range(len(prompts))]
    for load, tokens in zip(loads, prompts, strict=True):
        if tokens:
            _hand(load, 1, tokens)
    return loads


def _hand(load: ReplicaLoad, count: int, prompt_tokens: int = 100) -> None:
    """Hand `count` more samples to a replica."""
    for seq in range(load.sent, load.sent + count):
        load.hand(Sample(seq, seq, seq, prompt_tokens, 0, prompt_tokens + 128), 0)


def _show_speeds(loads: list[ReplicaLoad], *tokens_per_s: int) -> None:
    for load, tokens in zip(loads, tokens_per_s, strict=True):
        load.finished, load.finished_tokens, load.busy_ns = 100, tokens, 10**9


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
            _hand(loads[chosen], 1)
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
    assert balancer.choose(loads).replica == 0
    loads[1].outstanding_prefills = 0  # its first token has come
    assert balancer.choose(loads).replica == 1


def test_capacity_weighted_gives_the_faster_more() -> None:
    balancer = make_balancer(BalancerName.capacity_weighted, streaming=False)
    loads = _loads(0, 0)
    _show_speeds(loads, 1000, 500)
    for _ in range(300):
        _hand(loads[balancer.choose(loads).replica], 1)
    assert [load.outstanding_samples for load in loads] == [200, 100]


def test_the_default_suits_the_scenario() -> None:
    names = [
        type(make_balancer(None, streaming)).__name__ for streaming in (True, False)
    ]
    assert names == ["PrefillAware", "LeastOutstandingTokens"]


def test_prefill_aware_gives_a_slow_replica_fewer() -> None:
    balancer = make_balancer(BalancerName.prefill_aware, streaming=True)
    loads = _loads(0, 0)
    _show_speeds(loads, 1000, 500)
    for _ in range(300):
        _hand(loads[balancer.choose(loads).replica], 1)
    # Scores are (samples + 1 + 8 x prefills) / speed, so 2 to 1 as the speeds are.
    assert [load.outstanding_samples for load in loads] == [200, 100]


def test_prefill_aware_weighs_queues_by_speed() -> None:
    balancer = make_balancer(BalancerName.prefill_aware, streaming=True)
    loads = _loads(0, 0)
    _show_speeds(loads, 1000, 500)
    _hand(loads[0], 15)
    _hand(loads[1], 10)
    assert balancer.choose(loads).replica == 0
    _hand(loads[0], 10)
    assert balancer.choose(loads).replica == 1


def test_a_replica_that_has_shown_no_speed_counts_as_the_mean() -> None:
    balancer = make_balancer(BalancerName.capacity_weighted, streaming=True)
    loads = _loads(2000 - MAX_TOKENS, 1500 - MAX_TOKENS, 1400 - MAX_TOKENS)
    _show_speeds(loads[:2], 1000, 500)
    # 2 s, 3 s, and 1.87 s at the mean of 750 tokens/s.
    assert balancer.choose(loads).replica == 2
