from pathlib import Path

import numpy as np
import pytest

from record.structs import DeviceLine
from tests.report.reading import report_of, row, rows
from tests.run_folder import START_NS, FolderSpec, good_spec, sample, write_folder

MS = 1_000_000


def test_latency_of_each_node(tmp_path: Path) -> None:
    spec = good_spec(200)
    rng = np.random.default_rng(0)
    service = rng.integers(50, 150, 200)
    for record, ms in zip(spec.samples, service.tolist(), strict=True):
        record.completed_ns = (record.dispatched_ns or 0) + ms * MS
    report = report_of(write_folder(tmp_path / "run", spec))
    found = row(report["latency"]["nodes"], node="n1", kind="service")
    assert found["min"] == service.min()
    assert found["mean"] == pytest.approx(service.mean(), rel=1e-4)
    assert found["p99"] == pytest.approx(np.percentile(service, 99), rel=1e-4)
    assert found["std"] == pytest.approx(service.std(ddof=1), rel=1e-4)
    assert service[found["max at"]] == service.max()


def test_an_outlier_is_named_with_its_longest_stage(tmp_path: Path) -> None:
    spec = good_spec(100)
    odd = spec.samples[42]
    odd.completed_ns = (odd.dispatched_ns or 0) + 2000 * MS
    odd.queue_ns = 1900 * MS
    report = report_of(write_folder(tmp_path / "run", spec))
    found = rows(report["latency"]["outliers"])
    assert [r["sample"] for r in found] == [42]
    assert found[0]["longest stage"] == "queue"
    assert found[0]["against the median"] == 20


def test_what_holds_the_clock_down_is_reported(tmp_path: Path) -> None:
    spec = good_spec(100)
    capped, hot, idle = 0x4, 0x20, 0x1
    spec.telemetry = [
        DeviceLine(
            t_ns=START_NS + number * 10 * MS,
            node="n1",
            replica=0,
            device="gpu0",
            throttle_reasons=reasons,
        )
        for number, reasons in enumerate([capped, capped, capped | hot, idle])
    ]
    report = report_of(write_folder(tmp_path / "run", spec))
    found = row(report["resources"]["load"], replica=0)
    assert found["at its power limit"] == 75
    assert found["throttled"] == 25


def test_the_stages_of_latency_add_up(tmp_path: Path) -> None:
    spec = FolderSpec(scenario="server", streaming=True)
    for seq in range(50):
        spec.samples.append(
            sample(
                seq,
                seq % 2,
                issued_ns=START_NS + seq * 50 * MS - 3 * MS,
                first_token_ns=START_NS + seq * 50 * MS + 20 * MS,
                queue_ns=5 * MS,
                prefill_ns=10 * MS,
                decode_ns=70 * MS,
                residence_ns=92 * MS,
            )
        )
    report = report_of(write_folder(tmp_path / "run", spec))
    stages = {r["stage"]: r["mean"] for r in rows(report["latency"]["breakdown"])}
    assert stages == {
        "wait for dispatch": 3,
        "queue": 5,
        "prefill": 10,
        "decode": 70,
        "rest in the replica": 7,
        "outside the replica": 8,
    }
    whole = row(report["latency"]["nodes"], kind="latency from issue")["mean"]
    assert sum(stages.values()) == whole


def test_limits_and_headroom(tmp_path: Path) -> None:
    spec = FolderSpec(scenario="server", streaming=True)
    for seq in range(100):
        late = 2500 * MS if seq in (7, 8) else 400 * MS
        begin = START_NS + seq * 50 * MS
        spec.samples.append(
            sample(
                seq,
                issued_ns=begin,
                first_token_ns=begin + late,
                completed_ns=begin + late + 127 * 80 * MS,
            )
        )
    report = report_of(write_folder(tmp_path / "run", spec))
    ttft = row(report["latency"]["limits"], limit="TTFT")
    assert ttft["percentile"] == 99
    assert ttft["value"] == 2500
    assert ttft["allowed"] == 2000
    assert ttft["headroom"] == -25
    assert ttft["over"] == 2
    tpot = row(report["latency"]["limits"], limit="TPOT")
    assert (tpot["value"], tpot["headroom"]) == (80, 20)


def test_tokens_by_whom(tmp_path: Path) -> None:
    spec = good_spec(64)
    fast, slow = spec.samples[10], spec.samples[11]
    fast.completed_ns = (fast.dispatched_ns or 0) + 50 * MS
    slow.output_tokens = 12
    report = report_of(write_folder(tmp_path / "run", spec))
    peak, lowest = (
        report["tokens"][k]["value"] for k in ("sample_peak", "sample_lowest")
    )
    assert (peak["seq"], peak["replica"], peak["value"]) == (10, 0, 2560)
    assert (lowest["seq"], lowest["replica"], lowest["value"]) == (11, 1, 120)


def test_cold_start(tmp_path: Path) -> None:
    report = report_of(write_folder(tmp_path / "run", good_spec()))
    section = report["cold_start"]
    assert section["start_to_ready"]["value"] == 25
    assert section["cold_requests_if_measured"]["value"] == pytest.approx(0.8)
    assert rows(section["replicas"])[0]["penalty"] == pytest.approx(25)


def test_latency_has_a_word_for_its_consistency(tmp_path: Path) -> None:
    words = {}
    for name, wide in (("even", 0), ("mixed", 4), ("wide", 10)):
        spec = good_spec(20)
        for record in spec.samples[:wide]:
            assert record.completed_ns is not None
            # The others stay within 15% of a mean that this raises little.
            record.completed_ns += (-1) ** record.seq * 60_000_000
        report = report_of(write_folder(tmp_path / name, spec))
        found = row(report["latency"]["nodes"], kind="service")
        words[name] = found["within 15%"], found["consistency"]
    assert words == {
        "even": (100.0, "good"),
        "mixed": (80.0, "moderate"),
        "wide": (50.0, "poor"),
    }
