from pathlib import Path

import numpy as np
import pytest

from report.findings.slow_context import PeerComparison, classify
from report.findings.slowdowns import all_were_slow
from report.statistics.noise import compare
from tests.planted_causes import CASES, EVEN, Case, findings_of, hit, strays
from tests.report.reading import Plain, codes, report_of
from tests.simulated.cluster import Cluster, Fault

SECOND = 1_000_000_000


@pytest.mark.integration
@pytest.mark.parametrize("seed", [100, 101])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_planted_cause_is_named(case: Case, seed: int, tmp_path: Path) -> None:
    found = findings_of(case.make(), seed, tmp_path / "run")
    assert hit(case, found), found
    assert not strays(case, found)


@pytest.mark.integration
@pytest.mark.parametrize("cluster", EVEN, ids=lambda c: f"{c.replicas}-{c.scenario}")
def test_no_alarm_on_an_even_cluster(cluster: Cluster, tmp_path: Path) -> None:
    assert findings_of(cluster, 100, tmp_path / "run") == []


@pytest.mark.integration
def test_every_recommendation_has_a_finding_and_an_estimate(tmp_path: Path) -> None:
    for case in [c for c in CASES if c.name in ("throttling device, server",)]:
        found = findings_of(case.make(), 3, tmp_path / "run")
        assert [f.code for f in found] == [case.code]
    report = report_of(tmp_path / "run")
    assert report["recommendations"]
    for advice in report["recommendations"]:
        assert advice["finding"] in codes(report)
        assert advice["estimate"]["value"] > 0


@pytest.mark.integration
def test_neighbors_of_all_replicas_are_no_cause_of_one(tmp_path: Path) -> None:
    fault = {5: Fault(slowdown=1.11, neighbor=True)}
    beside = {n: Fault(neighbor=True) for n in (0, 1, 2, 3, 4, 6, 7)}
    cluster = Cluster(scenario="offline", faults=beside | fault)
    found = findings_of(cluster, 3, tmp_path / "run")
    assert [f.code for f in found] == ["slow.unknown", "neighbor"]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"throttled_from": 0.2, "held_bytes": 150 * 2**20}, "slow.throttled"),
        ({"contended": 0.12, "power_w": 349.0, "python": "3.11.8"}, "slow.cpu"),
    ],
)
def test_what_was_measured_says_more_than_what_stood_before(
    fault: Plain, code: str, tmp_path: Path
) -> None:
    cluster = Cluster(faults={2: Fault(**fault), 3: Fault(**fault)})
    found = findings_of(cluster, 3, tmp_path / "run")
    assert [f.code for f in found] == [code] * len(found)
    assert " Also: " in found[0].cause


@pytest.mark.integration
def test_of_two_setups_the_slow_one_is_reported_once(tmp_path: Path) -> None:
    for slow in (0, 1):
        fault = {slow: Fault(slowdown=1.11, power_w=300.0)}
        cluster = Cluster(nodes=2, per_node=1, faults=fault)
        found = findings_of(cluster, 3, tmp_path / f"run{slow}")
        assert [f.code for f in found] == ["slow.heterogeneous"]


@pytest.mark.integration
def test_an_unknown_cause_names_only_what_was_compared(tmp_path: Path) -> None:
    fault = {2: Fault(slowdown=1.11), 3: Fault(slowdown=1.11)}
    cluster = Cluster(scenario="server", faults=fault, minutes=5)
    (found,) = findings_of(cluster, 3, tmp_path / "run")
    assert found.code == "slow.unknown"
    assert found.cause.startswith(
        "The record does not show the cause. Similar to its peers: "
    )
    assert "SM clock 1,980 MHz (peers 1,979)" in found.cause
    assert "throttle" not in found.cause


def _values(middle: float, count: int, spread: float) -> np.ndarray:
    return middle * (
        1 + spread * np.random.default_rng(0).permutation(np.linspace(-1, 1, count))
    )


@pytest.mark.parametrize(
    ("here", "there", "lists"),
    [
        (_values(1734, 100, 0.005), _values(1740, 700, 0.005), "similar"),
        (_values(595, 100, 0.02), _values(680, 700, 0.02), "different"),
        # Too noisy for either word.
        (_values(20, 10, 1.0), _values(29, 70, 1.0), ""),
        (np.array([]), _values(1, 9, 0), "missing"),
    ],
)
def test_what_is_similar_and_what_is_not(
    here: np.ndarray, there: np.ndarray, lists: str
) -> None:
    found = PeerComparison(similar=[], different=[], missing=[])
    classify(found, "power", "W", here, there, 10.0)
    filled = [
        name for name in ("similar", "different", "missing") if getattr(found, name)
    ]
    assert filled == ([lists] if lists else [])


def test_nobody_is_blamed_for_what_slowed_all() -> None:
    rng = np.random.default_rng(0)
    cells = np.exp(rng.normal(3, 0.02, (8, 20)))
    cells[:, 5:10] *= 2.5
    cells[6, 6:10] *= 1.5
    difference = compare(cells)
    assert difference.beyond_noise[6]
    assert all_were_slow(cells, difference, "ttft", 6)
    assert all_were_slow(1 / cells, difference, "tokens_per_s", 6)
    calm = cells.copy()
    calm[:, 5:10] /= 2.5
    assert not all_were_slow(calm, difference, "ttft", 6)


@pytest.mark.integration
def test_no_alarm_after_an_episode_of_all_replicas(tmp_path: Path) -> None:
    episode = {number: Fault(cold_s=45, cold_factor=2.5) for number in range(8)}
    cluster = Cluster(scenario="server", minutes=5, load=0.8, faults=episode)
    for seed in (1, 8):
        found = findings_of(cluster, seed, tmp_path / f"run{seed}")
        assert [f for f in found if f.code.startswith("slow")] == []
