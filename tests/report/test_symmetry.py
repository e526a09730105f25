from pathlib import Path

import pytest

from report.symmetry import spread_pct, status
from tests.report.reading import codes, report_of, row, rows
from tests.run_folder import good_spec, write_folder
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
