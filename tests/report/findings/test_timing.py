from pathlib import Path

from record.structs import EventRecord
from tests.report.reading import Plain, codes, report_of
from tests.run_folder import START_NS, clock_record, good_spec, write_folder

SECOND = 1_000_000_000


def _event(kind: str, cause: str, second: float) -> EventRecord:
    t_ns = START_NS + int(second * SECOND)
    return EventRecord(t_ns=t_ns, kind=kind, cause=cause)  # type: ignore[arg-type]


def _finding(report: Plain, code: str) -> Plain:
    finding: Plain = next(f for f in report["findings"] if f["code"] == code)
    return finding


def test_a_clock_that_was_set_is_a_critical_finding(tmp_path: Path) -> None:
    spec = good_spec()
    spec.clock = clock_record(spec.samples, drift_ns=-60 * SECOND)
    cause = "the host's clock was set by -60.000 s"
    spec.events = [_event("clock", cause, 1.5)]
    report = report_of(write_folder(tmp_path / "run", spec))
    finding = _finding(report, "clock")
    assert finding["severity"] == "critical"
    assert finding["evidence"] == "The host's clock was set by -60.000 s at 1.5 s."
    assert "gate.clock" not in codes(report), "one finding for one fault"


def test_a_small_step_is_noted(tmp_path: Path) -> None:
    spec = good_spec()
    spec.clock = clock_record(spec.samples, drift_ns=3_000_000)
    spec.events = [_event("clock", "the host's clock was set by +0.003 s", 1)]
    report = report_of(write_folder(tmp_path / "run", spec))
    assert _finding(report, "clock")["severity"] == "note"


def test_a_pause_is_a_finding(tmp_path: Path) -> None:
    spec = good_spec()
    cause = "the coordinator did not run for 7.0 s"
    spec.events = [_event("pause", cause, 2), _event("pause", cause, 9)]
    report = report_of(write_folder(tmp_path / "run", spec))
    finding = _finding(report, "pause")
    assert finding["title"] == "The coordinator was paused (2 times)"
    assert finding["evidence"] == f"The{cause[3:]} at 2.0 s, {cause} at 9.0 s."
