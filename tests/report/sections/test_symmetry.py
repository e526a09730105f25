from pathlib import Path
from typing import Any

import numpy as np
import pytest

from record.structs import EventRecord
from report.reading.folder import read_run
from report.sections.symmetry import spread_pct, status
from report.statistics.busy import idle_s
from report.statistics.comparison import GroupComparison
from tests.planted_causes import EQUAL, called_uneven
from tests.report.reading import codes, report_of, row, rows
from tests.run_folder import START_NS, good_spec, write_folder
from tests.simulated.cluster import Cluster, Fault
from tests.simulated.run import write_cluster


def test_each_replicas_share(tmp_path: Path) -> None:
    report = report_of(write_folder(tmp_path / "run", good_spec(64)))
    found = rows(report["symmetry"]["replicas"])
    assert [r["completed"] for r in found] == [32, 32]
    assert [r["share done"] for r in found] == [50.0, 50.0]
    assert found[0]["service p50"] == 100.0
    assert found[0]["memory"] == 1.0
    node = row(report["symmetry"]["nodes"], node="n1")
    assert node["completed"] == 64
    assert node["replicas"] == 2


def test_status_words() -> None:
    assert [status(s, True) for s in (0.5, 5, 10, 30)] == [
        "perfect",
        "good",
        "moderate",
        "critical",
    ]
    assert [status(s, False) for s in (0.5, 10, 30)] == ["perfect", "good", "good"]
    assert spread_pct([100, 109]) == pytest.approx(9)
    assert spread_pct([5]) == 0
    assert spread_pct([5, 0]) is None


@pytest.mark.integration
def test_worse_than_good_only_beyond_noise(tmp_path: Path) -> None:
    small = Cluster(nodes=2, per_node=1, minutes=5)
    even = report_of(write_cluster(tmp_path / "even", small))
    found = row(even["symmetry"]["summary"], measure="tokens/s", between="replicas")
    assert found["beyond noise"] is False
    assert found["status"] in ("perfect", "good")
    small.faults = {1: Fault(slowdown=1.3)}
    slow = report_of(write_cluster(tmp_path / "slow", small))
    found = row(slow["symmetry"]["summary"], measure="tokens/s", between="replicas")
    assert found["beyond noise"] is True
    assert found["spread"] == pytest.approx(30, abs=4)
    assert found["status"] == "critical"
    assert found["p"] < 0.01
    assert "slow.unknown" in codes(slow)


def test_a_short_run_proves_nothing(tmp_path: Path) -> None:
    spec = good_spec(20)
    for record in spec.samples:
        record.replica = 1 if record.seq % 4 == 0 else 0
    report = report_of(write_folder(tmp_path / "run", spec))
    found = row(report["symmetry"]["summary"], measure="throughput")
    assert found["spread"] > 40
    assert found["beyond noise"] is not True
    assert found["status"] == "good"


def test_a_replica_that_did_nothing_is_told(tmp_path: Path) -> None:
    spec = good_spec(20)
    for record in spec.samples:
        record.replica = 0
    report = report_of(write_folder(tmp_path / "run", spec))
    found = row(report["symmetry"]["summary"], measure="throughput")
    assert found["status"] == "not comparable"
    assert "idle.replica" in codes(report)


@pytest.mark.integration
@pytest.mark.parametrize("cluster", EQUAL, ids=lambda c: f"{c.replicas}-{c.scenario}")
def test_equal_devices_are_not_called_uneven(cluster: Cluster, tmp_path: Path) -> None:
    for seed in (5000, 5001):
        assert called_uneven(cluster, seed, tmp_path / f"run{seed}") == []


def test_what_is_not_tested_is_not_good(tmp_path: Path) -> None:
    spec = good_spec(20)
    for record in spec.samples:
        record.dispatched_ns = START_NS
    report = report_of(write_folder(tmp_path / "run", spec))
    found = row(report["symmetry"]["summary"], measure="tokens/s")
    assert found["spread"] < 7.5
    assert found["status"] == found["beyond noise"] == "not tested"


@pytest.mark.integration
def test_rates_under_arrivals_are_the_balancers(tmp_path: Path) -> None:
    cluster = Cluster(nodes=2, per_node=1, scenario="server", minutes=5)
    report = report_of(write_cluster(tmp_path / "run", cluster))
    found = row(report["symmetry"]["summary"], measure="throughput")
    assert found["status"] == "set by the balancer"
    found = row(report["symmetry"]["summary"], measure="service latency")
    assert found["p"] is not None


def test_a_lone_replica_is_not_called_short_of_blocks(tmp_path: Path) -> None:
    report = report_of(write_folder(tmp_path / "run", good_spec(2000, replicas=1)))
    method = report["symmetry"]["method"]["value"]
    assert "only one" in method
    assert "blocks" not in method


def test_a_replica_that_came_back_is_compared_where_it_was_there(
    tmp_path: Path,
) -> None:
    spec = good_spec(2000)
    begin, end = START_NS + 20 * 10**9, START_NS + 50 * 10**9
    spec.samples = [
        s
        for s in spec.samples
        if s.replica == 0 or not begin - 10**9 < (s.dispatched_ns or 0) < end
    ]
    one: Any = {"node": "n1", "replica": 1}
    spec.events = [
        EventRecord(kind="death", cause="a", t_ns=begin, **one),
        EventRecord(kind="rejoin", cause="b", t_ns=end, **one),
    ]
    run = read_run(write_folder(tmp_path / "run", spec).path)
    assert run.gone == set()
    assert run.present_s(1) == pytest.approx(run.wall_s - 30)
    replicas = GroupComparison(run=run, level="replica")
    cells = replicas.cells("samples_per_s")
    edges = (replicas.blocks.edges - START_NS) / 1e9
    there = (edges[1:] <= 20) | (edges[:-1] >= 50)
    assert np.isnan(cells[1]).tolist() == (~there).tolist()
    assert not np.isnan(cells[0]).any()
    assert replicas.difference("samples_per_s").spread_beyond_noise_pct() == 0
    # Its absence is no lack of work.
    assert sum(idle_s(run, 1)) < 2
