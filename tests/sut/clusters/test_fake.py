from collections.abc import Iterator

import pytest

from sut.wire.messages import Request
from tests.sut.clusters.contract import ClusterContract
from tests.sut.clusters.fake import FakeCluster, FakeReplica


def idle(_replica: FakeReplica, _requests: list[Request]) -> None:
    pass


class TestFake(ClusterContract):
    @pytest.fixture
    def cluster(self) -> Iterator[FakeCluster]:
        cluster = FakeCluster([[idle] * 2, [idle] * 2])
        yield cluster
        cluster.close(0)
