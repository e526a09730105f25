"""Which replicas and nodes a qualification passes, over clusters of numbers."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from base.errors import Aborted
from campaigns.qualify.peers import Yardstick, faster_half, kind_of
from campaigns.qualify.record import (
    NAME,
    HardwareFact,
    HistoryPoint,
    Qualification,
    read_qualification,
)
from campaigns.qualify.result import as_page, as_text, conclusion, junit
from tests.campaigns.qualify.fake import SPEED, FakeCluster, make_runner, qualify


def failed(record: Qualification) -> dict[int, set[str]]:
    """Return the failed checks of each replica that failed."""
    return {
        one.replica: {c.name for c in one.checks if c.outcome == "failed"}
        for one in record.replicas
        if one.outcome == "failed"
    }


def reason(record: Qualification, replica: int, name: str) -> str:
    (one,) = [r for r in record.replicas if r.replica == replica]
    (check,) = [c for c in one.checks if c.name == name]
    return check.reason


@pytest.mark.parametrize("seed", range(5))
def test_an_even_cluster_passes(tmp_path: Path, seed: int) -> None:
    record = qualify(FakeCluster(seed=seed), tmp_path).record
    assert failed(record) == {}
    assert [node.outcome for node in record.nodes] == ["passed", "passed"]
    assert record.status == "passed"
    assert conclusion(record) == "passed: 8 replicas on 2 nodes"


def test_one_replica_of_each_node_has_work_at_a_time(tmp_path: Path) -> None:
    runner = qualify(FakeCluster(), tmp_path)
    alone = [run.members for run in runner.record.of("offline_alone")]
    assert alone == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert len(runner.record.runs) == 1 + 4 + 2 + 4 + 1


def test_the_rate_is_a_share_of_the_offline_speed(tmp_path: Path) -> None:
    record = qualify(FakeCluster(), tmp_path).record
    assert record.rate is not None
    assert record.rate == pytest.approx(0.6 * SPEED / 128, rel=0.02)
    (whole,) = record.of("server_all")
    assert whole.rate == pytest.approx(8 * record.rate)


@pytest.mark.parametrize("seed", range(3))
def test_a_slow_device_is_named(tmp_path: Path, seed: int) -> None:
    record = qualify(FakeCluster(seed=seed, slow={5: 1.12}), tmp_path).record
    assert set(failed(record)) == {5}
    assert "speed among peers" in failed(record)[5]
    assert "below the level of its peers" in reason(record, 5, "speed among peers")
    assert [n.node for n in record.nodes if n.outcome == "failed"] == ["n2"]


@pytest.mark.parametrize("seed", range(3))
def test_wrong_answers_are_named(tmp_path: Path, seed: int) -> None:
    record = qualify(FakeCluster(seed=seed, wrong={2: 0.3}), tmp_path).record
    assert failed(record) == {2: {"answers"}}


def test_of_two_replicas_the_one_that_agrees_with_itself_is_right(
    tmp_path: Path,
) -> None:
    cluster = FakeCluster(nodes=1, per_node=2, wrong={1: 0.4})
    assert failed(qualify(cluster, tmp_path).record) == {1: {"answers"}}


def test_devices_that_do_not_start_are_left_out(tmp_path: Path) -> None:
    runner = qualify(FakeCluster(dead={3, 6}), tmp_path)
    record = runner.record
    assert failed(record) == {3: {"starts and stays"}, 6: {"starts and stays"}}
    assert reason(record, 3, "starts and stays") == "exited with code 3"
    assert all(
        {3, 6}.isdisjoint(run.members)
        for run in record.runs
        if run.phase != "offline_all"
    )


def test_a_replica_that_is_lost_later_is_named(tmp_path: Path) -> None:
    record = qualify(FakeCluster(dies_in={4: "offline_alone"}), tmp_path).record
    assert failed(record) == {4: {"starts and stays"}}


def test_a_cluster_of_which_nothing_starts_fails(tmp_path: Path) -> None:
    record = qualify(FakeCluster(nodes=1, per_node=2, dead={0, 1}), tmp_path).record
    assert set(failed(record)) == {0, 1}
    assert record.status == "failed"


@pytest.mark.parametrize("seed", range(3))
def test_a_slow_node_is_named_as_a_node(tmp_path: Path, seed: int) -> None:
    slow = dict.fromkeys(range(4), 1.1)
    record = qualify(FakeCluster(seed=seed, slow=slow), tmp_path).record
    assert set(failed(record)) == {0, 1, 2, 3}
    node = record.nodes[0]
    names = {check.name for check in node.checks if check.outcome == "failed"}
    assert names >= {"node speed", "speed among peers"}
    assert any("look at the host" in check.reason for check in node.checks)
    assert record.nodes[1].outcome == "passed"


def test_a_host_that_is_too_slow_for_all_at_once_is_named(tmp_path: Path) -> None:
    together = dict.fromkeys(range(4, 8), 1.3)
    record = qualify(FakeCluster(slow_together=together), tmp_path).record
    assert set(failed(record)) == {4, 5, 6, 7}
    assert "speed with all others" in failed(record)[4]
    assert any(
        check.name == "speed with all others" for check in record.nodes[1].checks
    )


def test_faults_of_hardware_fail_and_poor_settings_warn(tmp_path: Path) -> None:
    facts = {
        1: HardwareFact(code="xid", severity="critical", text="XID 79."),
        2: HardwareFact(code="persistence", severity="note", text="Off."),
    }
    record = qualify(FakeCluster(facts=facts), tmp_path).record
    assert failed(record) == {1: {"hardware"}}
    assert reason(record, 1, "hardware") == "XID 79."
    assert "replica 2 on n1: hardware: Off." in as_text(record)


def test_kinds_of_devices_are_not_compared_with_each_other(tmp_path: Path) -> None:
    other = dict.fromkeys(range(4, 8), "NVIDIA A100-SXM4-80GB")
    slow = dict.fromkeys(range(4, 8), 1.5)
    record = qualify(FakeCluster(devices=other, slow=slow), tmp_path).record
    assert failed(record) == {}


def test_a_problem_of_a_whole_run_fails_the_cluster(tmp_path: Path) -> None:
    record = qualify(FakeCluster(problems=["samples_lost is 3"]), tmp_path).record
    assert failed(record) == {}
    assert record.status == "failed"
    assert "problems of whole runs" in conclusion(record)


def test_what_fails_is_measured_again(tmp_path: Path) -> None:
    runner = qualify(FakeCluster(slow={5: 1.12}), tmp_path)
    alone = [run.members for run in runner.record.of("offline_alone")]
    assert alone[4:] == [[5], [5]]
    assert len(qualify(FakeCluster(slow={5: 1.12}), tmp_path, confirm=0).launched) == 12


def test_the_reference_and_the_past_fail_a_slow_cluster(tmp_path: Path) -> None:
    yardstick = Yardstick(
        low=SPEED * 1.15,
        high=SPEED * 1.2,
        source="elsewhere",
        history=[
            HistoryPoint(started="2026-11-01T00:00:00Z", tokens_per_s=SPEED * 1.1)
        ],
    )
    cluster = FakeCluster(nodes=1, per_node=2)
    record = qualify(cluster, tmp_path, yardstick).record
    assert failed(record) == {n: {"reference", "history"} for n in (0, 1)}
    assert "since 2026-11-01" in reason(record, 0, "history")


def test_a_run_that_ends_by_itself_ends_the_qualification(tmp_path: Path) -> None:
    cluster = FakeCluster(nodes=1, per_node=2, ends="offline_alone")
    with pytest.raises(Aborted, match="it ended"):
        qualify(cluster, tmp_path)


def test_an_interrupted_qualification_goes_on(tmp_path: Path) -> None:
    runner = make_runner(FakeCluster(), tmp_path)
    runner.written = True
    runner.make_all(lambda _: Yardstick(source="none"))
    known = read_qualification(tmp_path)
    assert (tmp_path / NAME).exists()
    again = make_runner(FakeCluster(), tmp_path)
    again.earlier = known.runs[:7]
    again.make_all(lambda _: Yardstick(source="none"))
    assert len(again.launched) == len(again.record.runs) - 7


def test_junit_has_a_case_for_each_check(tmp_path: Path) -> None:
    record = qualify(FakeCluster(slow={5: 1.12}, dead={0}), tmp_path).record
    suites = ElementTree.fromstring(junit(record))
    assert [suite.get("name") for suite in suites] == ["n1", "n2", "cluster"]
    bad = {
        (case.get("classname"), case.get("name"))
        for case in suites.iter("testcase")
        if case.find("failure") is not None
    }
    assert ("n1.replica-0", "starts and stays") in bad
    assert ("n2.replica-5", "speed among peers") in bad
    assert int(suites[0].get("failures", "")) == 1


def test_the_page_and_the_table_name_what_is_wrong(tmp_path: Path) -> None:
    record = qualify(FakeCluster(slow={5: 1.12}), tmp_path).record
    page, text = as_page(record), as_text(record)
    assert "failed: replica 5; node n2 (8 replicas on 2 nodes)" in text
    assert "below the level of its peers" in page
    assert page.count('<tr><th scope="row">5</th>') == 1


def test_levels_and_kinds() -> None:
    assert faster_half([1.0, 0.8]) == 1.0
    assert faster_half([1.0, 1.0, 0.8, 0.8]) == 1.0
    assert faster_half([3.0]) == 3.0
    assert kind_of(["NVIDIA H100 #0", "NVIDIA H100 #1"]) == "2 x NVIDIA H100"
    assert kind_of(["cpu"]) == "cpu"
