from pathlib import Path

import pytest

from record.devices import DeviceUse
from record.structs import DeviceLine, EngineLine, EventRecord, HostLine, TelemetryLine
from tests.report.reading import Plain, codes, report_of
from tests.run_folder import (
    START_NS,
    FolderSpec,
    good_spec,
    replica_record,
    sample,
    write_folder,
)

SECOND = 1_000_000_000


def _finding(report: Plain, code: str) -> Plain:
    found: Plain = next(f for f in report["findings"] if f["code"] == code)
    return found


def test_lost_samples_without_an_event_name_the_log(tmp_path: Path) -> None:
    spec = good_spec()
    spec.samples[3] = sample(3, 1, status="lost", completed_ns=None, output_tokens=0)
    found = _finding(report_of(write_folder(tmp_path / "run", spec)), "lost")
    assert found["title"] == "1 of 64 samples was lost (1.56%), all on n1"
    assert "Sequence numbers: 3." in found["evidence"]
    assert found["cause"] == "The record does not show the cause."
    assert "replicas/" in found["measure"]


def test_a_fenced_replica_and_its_retries(tmp_path: Path) -> None:
    spec = good_spec()
    spec.samples[5].attempt = 2
    one: Plain = {"t_ns": START_NS + SECOND, "node": "n1", "replica": 1}
    back = one | {"t_ns": START_NS + 2 * SECOND}
    spec.events = [
        EventRecord(kind="death", cause="a", **one),
        EventRecord(kind="fence", cause="b", **one),
        EventRecord(kind="retry", cause="c", seq=5, **one),
        EventRecord(kind="rejoin", cause="d", **back),
    ]
    report = report_of(write_folder(tmp_path / "run", spec))
    assert codes(report)[:2] == ["fenced", "retried"]
    assert _finding(report, "fenced")["cause"] == "B."
    assert _finding(report, "retried")["where"] == ["replica 1"]
    assert _finding(report, "rejoined")["severity"] == "note"
    advice = next(r for r in report["recommendations"] if r["finding"] == "fenced")
    assert advice["estimate"]["unit"] == "tokens/s"
    assert advice["estimate"]["value"] > 0


def test_idle_time_is_reported_with_its_replica(tmp_path: Path) -> None:
    spec = good_spec(400)
    for record in spec.samples:
        if record.replica == 1 and record.seq > 200:
            shift = 10 * SECOND
            record.dispatched_ns = (record.dispatched_ns or 0) + shift
            record.completed_ns = (record.completed_ns or 0) + shift
    report = report_of(write_folder(tmp_path / "run", spec))
    found = _finding(report, "idle.time")
    assert "work" in found["cause"]
    assert any(r["finding"] == "idle.time" for r in report["recommendations"])


def _engine_lines(running: int, waiting: int, kv: float) -> list[TelemetryLine]:
    return [
        EngineLine(
            t_ns=START_NS + second * SECOND,
            node="n1",
            replica=replica,
            running=running,
            waiting=waiting,
            kv_used=kv,
        )
        for second in range(40)
        for replica in (0, 1)
    ]


@pytest.mark.parametrize(
    ("state", "code", "cause"),
    [
        ((10, 0, 0.2), "batch.starved", "No sample waited"),
        ((40, 9, 0.99), "batch.thin", "KV cache was full"),
        ((40, 9, 0.2), "batch.thin", "max_num_batched_tokens"),
        ((60, 9, 0.2), None, ""),
    ],
)
def test_thin_batches(
    tmp_path: Path, state: tuple[int, int, float], code: str | None, cause: str
) -> None:
    spec = good_spec(800)
    spec.telemetry = _engine_lines(*state)
    report = report_of(write_folder(tmp_path / "run", spec))
    if code is None:
        assert not any(c.startswith("batch") for c in codes(report))
    else:
        assert cause in _finding(report, code)["cause"]


def test_a_growing_queue(tmp_path: Path) -> None:
    spec = FolderSpec(scenario="server", streaming=True)
    for seq in range(400):
        issued = START_NS + seq * 10_000_000
        first = issued + 50_000_000 + seq * 2_000_000
        spec.samples.append(
            sample(
                seq,
                seq % 2,
                issued_ns=issued,
                dispatched_ns=issued,
                first_token_ns=first,
                completed_ns=first + SECOND,
            )
        )
    report = report_of(write_folder(tmp_path / "run", spec))
    assert "rose in 7 of 7 steps" in _finding(report, "queue")["evidence"]
    for record in spec.samples:
        record.first_token_ns = record.issued_ns + 50_000_000
    calm = report_of(write_folder(tmp_path / "calm", spec))
    assert "queue" not in codes(calm)


def test_a_busy_coordinator_and_failing_memory(tmp_path: Path) -> None:
    spec = good_spec(400)
    spec.telemetry = [
        line
        for second in range(15)
        for line in (
            HostLine(
                t_ns=START_NS + second * SECOND,
                node="n1",
                replica=None,
                process_cpu_pct=97,
            ),
            DeviceLine(
                t_ns=START_NS + second * SECOND,
                node="n1",
                replica=1,
                device="gpu0",
                ecc_errors=second // 8,
            ),
        )
    ]
    report = report_of(write_folder(tmp_path / "run", spec))
    assert "97%" in _finding(report, "coordinator")["evidence"]
    assert _finding(report, "ecc")["where"] == ["replica 1"]


def test_answers_of_wrong_length(tmp_path: Path) -> None:
    spec = good_spec()
    spec.samples[4].output_tokens = 129
    spec.samples[9].output_tokens = 1
    report = report_of(write_folder(tmp_path / "run", spec))
    assert "Sequence numbers: 4." in _finding(report, "tokens.long")["evidence"]
    assert "Sequence numbers: 9." in _finding(report, "tokens.single")["evidence"]
    assert report["tokens"]["over_limit"]["value"] == 1


def test_neighbors_are_reported_where_no_replica_is_slow(tmp_path: Path) -> None:
    spec = good_spec(400)
    spec.records = [replica_record(0), replica_record(1)]
    busy = DeviceUse(device="gpu1", memory_used_bytes=2**30, utilization_pct=31)
    spec.records[1].before = [busy]
    found = _finding(report_of(write_folder(tmp_path / "run", spec)), "neighbor")
    assert found["where"] == ["replica 1"]
    assert "replica 1: gpu1 1.0 GiB and 31% busy" in found["evidence"]


def test_different_setups_are_reported_where_no_replica_is_slow(tmp_path: Path) -> None:
    spec = good_spec(400)
    spec.records = [replica_record(0), replica_record(1)]
    spec.records[1].versions = {"python": "3.12"}
    found = _finding(report_of(write_folder(tmp_path / "run", spec)), "heterogeneous")
    assert found["evidence"] == "python: 3.11 on replica 0, 3.12 on replica 1."


def _absent(spec: FolderSpec, *spans: tuple[int, int | None]) -> None:
    """Let replica 1 be away for these spans, in seconds since the first issue."""
    one: Plain = {"node": "n1", "replica": 1}
    for begin, end in spans:
        at = START_NS + begin * SECOND
        spec.events.append(EventRecord(kind="fence", cause="a", t_ns=at, **one))
        if end is not None:
            at = START_NS + end * SECOND
            spec.events.append(EventRecord(kind="rejoin", cause="b", t_ns=at, **one))


def test_an_absence_costs_what_the_replica_does_while_there(tmp_path: Path) -> None:
    spec = good_spec(1920)
    for record in spec.samples:
        begin = START_NS + (record.seq // 2) * SECOND // 10
        record.dispatched_ns, record.completed_ns = begin, begin + SECOND // 10
    _absent(spec, (1, 5))
    report = report_of(write_folder(tmp_path / "run", spec))
    found = _finding(report, "fenced")
    assert "It had completed 10 samples. It came back 4.0 s later." in found["evidence"]
    (advice,) = [r for r in report["recommendations"] if r["finding"] == "fenced"]
    # 960 answers of 128 tokens in the 92 of 96 s in which it was there.
    expected = 960 * 128 / 92 * 4 / 96
    assert advice["estimate"]["value"] == pytest.approx(expected, rel=1e-3)


def test_each_loss_of_a_replica_is_an_event_of_its_own(tmp_path: Path) -> None:
    spec = good_spec(400)
    _absent(spec, (2, 4), (8, None))
    report = report_of(write_folder(tmp_path / "run", spec))
    found = [f["evidence"] for f in report["findings"] if f["code"] == "fenced"]
    assert len(found) == 2
    assert found[0].startswith("It was fenced 2.0 s")
    assert found[1].endswith("It did not come back.")


def test_a_replica_that_left_before_it_completed_anything(tmp_path: Path) -> None:
    spec = good_spec(400)
    for record in spec.samples:
        record.replica = 0
    _absent(spec, (0, None))
    report = report_of(write_folder(tmp_path / "run", spec))
    assert "idle.replica" not in codes(report)
    (advice,) = report["recommendations"]
    assert advice["estimate"]["value"] > 0
    assert "the other replicas" in advice["estimate"]["definition"]


def test_idle_time_after_a_loss_is_no_drain(tmp_path: Path) -> None:
    spec = good_spec(400)
    for record in spec.samples:
        if record.replica == 1 and record.seq > 200:
            record.status, record.completed_ns, record.output_tokens = "lost", None, 0
    report = report_of(write_folder(tmp_path / "run", spec))
    assert "lost" in codes(report)
    assert "idle.time" not in codes(report)


def _one_by_one(tokens: list[int], per_token_ms: list[float]) -> FolderSpec:
    """Return a SingleStream run: samples of one replica that follow each other."""
    spec = FolderSpec(scenario="singlestream", streaming=True, replicas=1)
    begin = START_NS
    for seq, (count, step) in enumerate(zip(tokens, per_token_ms, strict=True)):
        end = begin + int(count * step * 1e6)
        spec.samples.append(
            sample(
                seq,
                issued_ns=begin,
                dispatched_ns=begin,
                first_token_ns=begin + 10**6,
                completed_ns=end,
                output_tokens=count,
            )
        )
        begin = end
    return spec


def test_a_first_sample_is_compared_per_token(tmp_path: Path) -> None:
    # A short later answer is far faster, and says nothing of warmth.
    spec = _one_by_one([128, 128, 12, 128, 128, 128], [16.6, 14.5, 24, 14.9, 14.6, 15])
    report = report_of(write_folder(tmp_path / "warm", spec))
    assert "cold.first" not in codes(report)
    assert report["recommendations"] == []
    spec = _one_by_one([128] * 8, [30, 14.5, 14.7, 14.9, 14.6, 15, 14.8, 14.4])
    report = report_of(write_folder(tmp_path / "cold", spec))
    assert "+104.1%" in _finding(report, "cold.first")["evidence"]
    (advice,) = report["recommendations"]
    assert advice["estimate"]["value"] == pytest.approx((30 - 14.7) * 0.128, abs=0.01)
    spec = _one_by_one([128] * 8, [30, 14.5, 14.7, 31, 14.6, 15, 14.8, 14.4])
    assert "cold.first" not in codes(report_of(write_folder(tmp_path / "odd", spec)))


def test_slower_answers_are_no_overload(tmp_path: Path) -> None:
    spec = FolderSpec(scenario="server", streaming=True)
    for seq in range(4000):
        issued = START_NS + seq * 10_000_000
        first = issued + 40_000_000 + seq * 20_000
        spec.samples.append(
            sample(
                seq,
                seq % 2,
                issued_ns=issued,
                dispatched_ns=issued,
                first_token_ns=first,
                completed_ns=first + SECOND,
            )
        )
    report = report_of(write_folder(tmp_path / "run", spec))
    assert "queue" not in codes(report)


def test_overload_is_reported_with_both_rates_and_no_gain(tmp_path: Path) -> None:
    spec = FolderSpec(scenario="server", streaming=True)
    for seq in range(400):
        issued = START_NS + seq * 10_000_000
        first = issued + 50_000_000 + seq * 2_000_000
        spec.samples.append(
            sample(
                seq,
                seq % 2,
                issued_ns=issued,
                dispatched_ns=issued,
                first_token_ns=first,
                completed_ns=first + SECOND,
            )
        )
    report = report_of(write_folder(tmp_path / "run", spec))
    assert (
        "100.3 samples/s arrived and 70.46 samples/s"
        in _finding(report, "queue")["evidence"]
    )
    assert report["recommendations"] == []
