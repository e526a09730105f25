"""Policies that choose the replica for a sample; pure, no I/O."""

from conf.schema import BalancerName
from sut.balancers.base import Balancer, Load
from sut.balancers.least_outstanding_tokens import LeastOutstandingTokens
from sut.balancers.round_robin import RoundRobin

__all__ = ["Balancer", "Load", "make_balancer"]

_BALANCERS: dict[BalancerName, type[Balancer]] = {
    BalancerName.round_robin: RoundRobin,
    BalancerName.least_outstanding_tokens: LeastOutstandingTokens,
}


def make_balancer(name: BalancerName) -> Balancer:
    """Return a new balancer of the policy `name`."""
    return _BALANCERS[name]()
