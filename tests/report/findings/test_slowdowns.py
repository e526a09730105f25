from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from record.folder import read_lines
from record.structs import SampleRecord
from report.findings.slow_context import PeerComparison, classify
from report.findings.slowdowns import all_were_slow
from report.statistics.noise import compare, is_drift
from tests.planted_causes import CASES, EVEN, Case, findings_of, hit, strays
from tests.report.reading import Plain, codes, report_of
from tests.simulated.cluster import Cluster, Fault
from tests.simulated.run import write_cluster

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
        "The record does not show the cause. Similar to the peers: "
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


_SLOW: Plain = {"slowdown": 1.12, "clock": 0.89}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("slow", "change", "title"),
    [
        # The healthy replica of node 2 is not blamed with the three others.
        ((4, 5, 7), {}, "slower than their peers throughout the run"),
        # Most replicas are slow: the three others show how fast they should be.
        ((0, 2, 3, 5, 6), {}, "slower than their peers throughout the run"),
        ((5,), {"drifts": True}, "became slower over the run"),
    ],
)
def test_the_slow_replicas_are_named_and_no_others(
    slow: tuple[int, ...], change: Plain, title: str, tmp_path: Path
) -> None:
    faults = {number: Fault(**(_SLOW | change)) for number in slow}
    cluster = Cluster(nodes=2, per_node=4, minutes=5, faults=faults, seed=1)
    write_cluster(tmp_path / "run", cluster)
    report = report_of(tmp_path / "run")
    (found,) = report["findings"]
    assert found["code"] == "slow.clock"
    assert found["where"] == [f"replica {number}" for number in slow]
    assert title in found["title"]
    if slow == (4, 5, 7):
        assert found["evidence"].startswith("They are 3 of the 4 replicas of node02.")
    (advice,) = report["recommendations"]
    assert _recomputed_gain(tmp_path / "run", slow) == pytest.approx(
        advice["estimate"]["value"], rel=0.02
    )


def _recomputed_gain(path: Path, slow: tuple[int, ...]) -> float:
    """Return the tokens/s by which a peer did more, x the number of slow replicas."""
    records: list[SampleRecord] = list(read_lines(path / "samples.jsonl", SampleRecord))
    ends = [
        max(s.completed_ns or 0 for s in records if s.replica == n) for n in range(8)
    ]
    begin, end = min(s.dispatched_ns or 0 for s in records), min(ends)
    tokens = np.zeros(8)
    for record in records:
        last = record.completed_ns or 0
        first = last - (record.prefill_ns or 0) - (record.decode_ns or 0)
        share = min(1.0, max(0.0, (end - first) / (last - first)))
        tokens[record.replica] += share * record.output_tokens
    rates = tokens / (end - begin) * 1e9
    own = np.isin(np.arange(8), slow)
    return float((rates[~own].mean() - rates[own].mean()) * len(slow))


@pytest.mark.integration
def test_a_short_slowdown_has_the_time_of_its_episode(tmp_path: Path) -> None:
    fault = {5: Fault(slowdown=2.5, during_s=(120, 160))}
    cluster = Cluster(
        nodes=2, per_node=4, scenario="server", minutes=5, faults=fault, seed=1
    )
    found = [
        one
        for one in findings_of(cluster, 1, tmp_path / "run")
        if one.code.startswith("slow")
    ]
    for one in found:
        assert one.where == ["replica 5"]
        assert "from 1" in one.title


def test_groups_are_compared_with_the_few_that_are_faster() -> None:
    rng = np.random.default_rng(1)
    cells = np.exp(rng.normal(0, 0.01, (8, 20)))
    cells[[0, 2, 3, 5, 6]] *= 1.12
    usual = compare(cells)
    assert usual.effects[0] == pytest.approx(0, abs=0.02)
    fast = np.isin(np.arange(8), [1, 4, 7])
    from_fast = compare(cells, fast)
    assert from_fast.effects[0] == pytest.approx(0.12, abs=0.02)
    assert from_fast.beyond_noise.tolist() == (~fast).tolist()


@pytest.mark.parametrize(
    ("shape", "drifts"),
    [
        (lambda x: 0.15 * x, True),
        (lambda x: 0.12 + 0 * x, False),
        (lambda x: 0.15 * (x > 0.4), False),
        (lambda x: 0.4 * ((x > 0.4) & (x < 0.6)), False),
        (lambda x: 0 * x, False),
    ],
)
def test_a_line_is_a_drift_and_a_step_is_none(
    shape: Callable[[np.ndarray], np.ndarray], drifts: bool
) -> None:
    x = np.linspace(0, 1, 24)
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 0.01, 24)
        ratios = np.asarray(shape(x)) + noise
        difference = compare(np.exp(np.stack([0 * x, ratios, 0 * x])))
        first, after = difference.spans[1].tolist()
        assert is_drift(ratios, first, after) == drifts
