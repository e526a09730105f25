import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from report.content import make_report
from report.reading.folder import read_run
from report.rendering.page import render
from report.sections.symmetry import status
from tests.report.reading import Plain, codes, report_of, row
from tests.shared_data import shared_data
from tests.two_node_case import LATENCIES_MS, write_baseline, write_two_nodes


@pytest.fixture(scope="module")
def case() -> Plain:
    content: Plain = json.loads(shared_data("two_node_case.json").read_text())
    return content


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    root = tmp_path_factory.mktemp("two")
    return report_of(write_two_nodes(root / "pair"), write_baseline(root / "single"))


def test_the_folders_realise_the_case(case: Plain, report: Plain) -> None:
    for node, expected in case["nodes"].items():
        own = LATENCIES_MS[node]
        latency = expected["latency_ms"]
        assert (min(own), max(own), np.mean(own)) == (
            latency["min"],
            latency["max"],
            latency["mean"],
        )
        assert own.index(min(own)) == latency["min_at_sample"]
        assert own.index(max(own)) == latency["max_at_sample"]
        found = row(report["symmetry"]["nodes"], node=node)
        assert found["issued"] == expected["samples_sent"]
        assert found["completed"] == expected["samples_completed"]
        assert round(found["samples/s"], 2) == expected["throughput_samples_per_s"]
        assert round(found["tokens/s per sample"], 1) == expected["tokens_per_s"]
        assert found["memory"] == expected["gpu_memory_gb"]
    # 309 fits no five samples with jw2's minimum, maximum and mean.
    jw3 = row(report["latency"]["nodes"], node="jw3")
    assert round(jw3["std"]) == case["nodes"]["jw3"]["latency_ms"]["std"]
    for name, key in (("input", "prompt"), ("output", "output")):
        lengths = report["configuration"][f"{key}_tokens"]["value"]
        expected = case[f"{name}_tokens"]
        assert (lengths["min"], lengths["max"]) == (expected["min"], expected["max"])
        assert round(lengths["mean"], 1) == expected["mean"]
    base = case["single_gpu_baseline"]
    single = row(report["scaling"]["sizes"], metric="tokens/s", replicas=1)
    assert single["actual"] == base["tokens_per_s"]


def test_the_report_gives_the_expected_values(case: Plain, report: Plain) -> None:
    expected = case["expected"]
    scaling, throughput = report["scaling"], expected["throughput"]
    assert round(scaling["samples_per_s"]["value"], 1) == pytest.approx(
        throughput["completed_over_wall_time_samples_per_s"]
    )
    assert scaling["wall_time"]["value"] == throughput["wall_time_s"]
    assert round(scaling["efficiency"]["value"], 1) == pytest.approx(
        throughput["efficiency_of_completed_work_pct"]
    )
    # 2.05 adds rates that were rounded before; unrounded they give 2.045.
    assert scaling["sum_of_node_rates"]["value"] == pytest.approx(
        throughput["sum_of_node_rates_samples_per_s"], abs=0.01
    )
    latency = report["latency"]
    assert round(latency["sample_weighted_mean"]["value"], 1) == pytest.approx(
        expected["latency_ms"]["sample_weighted_mean"]
    )
    assert (
        latency["mean_of_node_means"]["value"]
        == expected["latency_ms"]["mean_of_node_means"]
    )
    assert report["tokens"]["consistency"]["value"] == pytest.approx(
        expected["tokens_per_s_consistency_pct"], abs=0.1
    )
    resources = report["resources"]
    assert round(resources["memory_used"]["value"], 2) == pytest.approx(
        expected["gpu_memory_cluster_gb"]
    )
    assert round(resources["memory_utilization"]["value"], 1) == pytest.approx(
        expected["memory_utilization_pct"]
    )
    for node, penalty in expected["cold_start_pct_over_fastest"].items():
        found = row(report["cold_start"]["nodes"], node=node)
        assert round(found["first sample"], 1) == pytest.approx(penalty)


@pytest.mark.parametrize(
    ("measure", "key", "room"),
    [
        # The case divides rates that were rounded to two digits.
        ("throughput", "throughput", 0.25),
        ("service latency", "latency", 0.05),
        ("tokens/s per sample", "tokens_per_s", 0.05),
        ("memory", "gpu_memory", 0),
        ("success rate", "success_rate", 0),
    ],
)
def test_spreads_and_statuses(
    case: Plain, report: Plain, measure: str, key: str, room: float
) -> None:
    expected: Any = case["expected"]
    found = row(report["symmetry"]["summary"], measure=measure, between="nodes")
    spreads = {"success_rate": expected["symmetry_spread_pct"]["success_rate_points"]}
    spread = (spreads | expected["symmetry_spread_pct"])[key]
    assert found["spread"] == pytest.approx(spread, abs=room + 1e-9)
    word = expected["symmetry_status_if_significant"][key]
    if key != "success_rate":
        assert status(spread, True) == word
    if key in ("throughput", "latency"):
        assert found["beyond noise"] is expected["speed_difference_significant"]
        assert found["p"] > 0.05
        assert found["status"] == "good"
    else:
        assert found["status"] == word


def test_lost_samples_come_before_any_speed(
    case: Plain, report: Plain, tmp_path: Path
) -> None:
    first = report["findings"][0]
    assert first["severity"] == "critical"
    assert first["title"] == "5 of 20 samples were lost (25%), all on jw2"
    made = make_report([read_run(write_two_nodes(tmp_path / "pair").path)])
    for name in ("report.html", "report.md"):
        page = render(name, made, made.content.plain(), [])
        assert "5 of 20" in page
        speeds = [page.index(word) for word in ("samples/s", "tokens/s")]
        assert page.index("5 of 20") < min(speeds)


def test_idle_time_of_a_node_that_lost_its_samples_is_no_drain(report: Plain) -> None:
    assert "idle.time" not in codes(report)
    assert all(r["estimate"]["value"] > 0 for r in report["recommendations"])


def test_no_statement_of_the_hand_written_report_is_repeated(
    case: Plain, report: Plain
) -> None:
    text = json.dumps([report["findings"], report["recommendations"]])
    assert "super-linear" not in text
    for wrong in ("102.5", "49.8", "84%", "2.05", "faster than jw"):
        assert wrong not in text
    hand = case["hand_written"]
    for key, item in report["scaling"].items():
        if "value" in item and key != "sum_of_node_rates":
            assert item["value"] != hand["throughput_actual"]
            assert item["value"] != hand["throughput_efficiency_pct"]
    for found in report["scaling"]["sizes"]["rows"]:
        assert "super-linear" not in found
    assert report["resources"]["memory_utilization"]["value"] != 49.8
    # The latency of Offline is service latency: the wait of the burst is left out.
    assert {r[0] for r in report["scaling"]["sizes"]["rows"]} == {
        "samples/s",
        "tokens/s",
        "latency",
    }


def test_each_node_has_a_column_of_its_own(report: Plain) -> None:
    table = report["symmetry"]["side_by_side"]
    heads = [column.get("heading", column["name"]) for column in table["columns"]]
    assert heads == ["measure", "unit", "jw2", "jw3", "spread", "status"]
    rates = next(one for one in table["rows"] if one[0] == "throughput")
    nodes = report["symmetry"]["nodes"]
    assert rates[2:4] == [
        row(nodes, node="jw2")["samples/s"],
        row(nodes, node="jw3")["samples/s"],
    ]
    success = next(one for one in table["rows"] if one[0] == "success rate")
    assert success[2:] == [50.0, 100.0, 50.0, "critical"]
