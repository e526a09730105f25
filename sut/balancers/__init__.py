"""Policies that choose the replica for a sample; pure, no I/O."""

from conf.schema import BalancerName
from sut.balancers.base import Balancer, Load
from sut.balancers.capacity_weighted import CapacityWeighted
from sut.balancers.least_outstanding_tokens import LeastOutstandingTokens
from sut.balancers.prefill_aware import PrefillAware
from sut.balancers.round_robin import RoundRobin

__all__ = ["Balancer", "Load", "make_balancer"]

_BALANCERS: dict[BalancerName, type[Balancer]] = {
    BalancerName.round_robin: RoundRobin,
    BalancerName.least_outstanding_tokens: LeastOutstandingTokens,
    BalancerName.prefill_aware: PrefillAware,
    BalancerName.capacity_weighted: CapacityWeighted,
}


def make_balancer(name: BalancerName | None, streaming: bool) -> Balancer:
    """Return a new balancer of the policy `name`.

    Args:
        name: the policy; None: the one that suits the scenario.
        streaming: whether first tokens are reported, and timed.
    """
    suited = (
        BalancerName.prefill_aware
        if streaming
        else BalancerName.least_outstanding_tokens
    )
    return _BALANCERS[name or suited]()
