"""Run folders that show one or more findings each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from record.devices import DeviceUse
from record.folder import RunFolder, read_json, write_json
from record.structs import (
    Check,
    DeviceLine,
    EngineLine,
    EventRecord,
    HostLine,
    SettingsRecord,
    TelemetryLine,
    Verdict,
)
from report.reading.folder import read_run
from report.reading.run import Run
from tests.run_folder import (
    START_NS,
    FolderSpec,
    clock_record,
    good_spec,
    replica_record,
    sample,
    write_folder,
)

SECOND = 1_000_000_000
Plain = dict[str, Any]


def run_of(path: Path, spec: FolderSpec) -> Run:
    return read_run(write_folder(path, spec).path)


def _event(kind: str, cause: str, second: float, **more: object) -> EventRecord:
    t_ns = START_NS + int(second * SECOND)
    return EventRecord(t_ns=t_ns, kind=kind, cause=cause, **more)  # type: ignore[arg-type]


def _faults(path: Path) -> Run:
    """A replica that left and came back, with retries and a broken message."""
    spec = good_spec(1920)
    for record in spec.samples:
        begin = START_NS + (record.seq // 2) * SECOND // 10
        record.dispatched_ns, record.completed_ns = begin, begin + SECOND // 10
    spec.samples[7].attempt = 2
    one: Plain = {"node": "n1", "replica": 1}
    spec.events = [
        _event("fence", "no heartbeat for 30 s", 1, **one),
        _event("retry", "its replica was fenced", 1, seq=7, **one),
        _event("rejoin", "it is ready again", 5, **one),
        _event("protocol", "the recomputed answer begins differently", 6, seq=7, **one),
    ]
    return run_of(path, spec)


def _lost(path: Path) -> Run:
    """Samples that were lost with their replica, and one without a known cause."""
    spec = good_spec()
    for seq in (3, 5, 9):
        lost: Plain = {"status": "lost", "completed_ns": None, "output_tokens": 0}
        spec.samples[seq] = sample(seq, 1, **lost)
    one: Plain = {"node": "n1", "replica": 1}
    spec.events = [_event("death", "its process ended (exit code -9)", 2, **one)]
    return run_of(path, spec)


def _lost_silently(path: Path) -> Run:
    spec = good_spec()
    spec.samples[3] = sample(3, 1, status="lost", completed_ns=None, output_tokens=0)
    return run_of(path, spec)


def _idle(path: Path, begin: int, end: int) -> Run:
    """Replica 1 has its samples with seq of `begin` to `end` 10 s later."""
    spec = good_spec(400)
    for record in spec.samples:
        if record.replica == 1 and begin <= record.seq < end:
            record.dispatched_ns = (record.dispatched_ns or 0) + 10 * SECOND
            record.completed_ns = (record.completed_ns or 0) + 10 * SECOND
    return run_of(path, spec)


def _one_replica_idle(path: Path, scenario: str) -> Run:
    spec = good_spec()
    spec.scenario, spec.streaming = scenario, scenario != "offline"
    for record in spec.samples:
        record.replica = 0
    return run_of(path, spec)


def _engine(running: int, waiting: int, cache: float) -> list[TelemetryLine]:
    return [
        EngineLine(
            t_ns=START_NS + second * SECOND,
            node="n1",
            replica=replica,
            running=running,
            waiting=waiting,
            kv_used=cache,
        )
        for second in range(40)
        for replica in (0, 1)
    ]


def _batches(path: Path, running: int, waiting: int, cache: float) -> Run:
    spec = good_spec(800)
    spec.telemetry = _engine(running, waiting, cache)
    return run_of(path, spec)


def _server(rate: float, grows_ms: int = 0, replicas: int = 2) -> FolderSpec:
    spec = FolderSpec(scenario="server", streaming=True, replicas=replicas)
    for seq in range(400):
        issued = START_NS + int(seq / rate * SECOND)
        first = issued + 50_000_000 + seq * grows_ms * 1_000_000
        spec.samples.append(
            sample(
                seq,
                seq % replicas,
                issued_ns=issued,
                dispatched_ns=issued,
                first_token_ns=first,
                completed_ns=first + SECOND,
            )
        )
    return spec


def _judged(folder: RunFolder, rate: float, *checks: Check) -> Run:
    """Return the run with a rate that was set and these checks of the gate."""
    settings = read_json(folder.settings, SettingsRecord)
    settings.effective["server_target_qps"] = rate
    write_json(folder.settings, settings)
    verdict = read_json(folder.verdict, Verdict)
    verdict.checks = [*checks]
    failed = any(check.outcome == "failed" for check in checks)
    verdict.outcome = "failed" if failed else "passed"
    write_json(folder.verdict, verdict)
    return read_run(folder.path)


def _queue_by_gate(path: Path) -> Run:
    note = "open samples grew by 3.1/s, which is 6% of the arrival rate (p = 1e-05)"
    check = Check(
        name="steady_state",
        limit="steady",
        value="growing",
        outcome="failed",
        note=note,
    )
    return _judged(write_folder(path, _server(100)), 100, check)


def _arrivals(path: Path, came: float, scheduled: float | None) -> Run:
    spec = _server(came)
    if scheduled:
        spec.log["result_scheduled_samples_per_sec"] = scheduled
    return _judged(write_folder(path, spec), 100)


def _coordinator_and_memory(path: Path) -> Run:
    spec = good_spec(400)
    for second in range(15):
        at: Plain = {"t_ns": START_NS + second * SECOND, "node": "n1"}
        spec.telemetry += [
            HostLine(replica=None, process_cpu_pct=95 + second % 3, **at),
            DeviceLine(replica=1, device="gpu1", ecc_errors=second // 8, **at),
        ]
    return run_of(path, spec)


def _answers(path: Path) -> Run:
    spec = good_spec()
    spec.samples[4].output_tokens = 129
    spec.samples[9].output_tokens = spec.samples[11].output_tokens = 1
    return run_of(path, spec)


def _cold_first(path: Path) -> Run:
    spec = FolderSpec(scenario="singlestream", streaming=True, replicas=1)
    begin = START_NS
    for seq in range(8):
        end = begin + int(128 * (30 if seq == 0 else 14.5 + seq % 3 / 10) * 1e6)
        spec.samples.append(
            sample(
                seq,
                issued_ns=begin,
                dispatched_ns=begin,
                first_token_ns=begin + 10**6,
                completed_ns=end,
            )
        )
        begin = end
    return run_of(path, spec)


def _time(path: Path) -> Run:
    spec = good_spec()
    spec.clock = clock_record(spec.samples, drift_ns=-60 * SECOND)
    spec.events = [
        _event("clock", "the host's clock was set by -60.000 s", 1.5),
        _event("pause", "the coordinator did not run for 7.0 s", 2),
    ]
    return run_of(path, spec)


def _damaged(path: Path) -> Run:
    """The record lacks samples, and telemetry is missing."""
    folder = write_folder(path, good_spec())
    whole = folder.samples.read_bytes().splitlines(True)
    folder.samples.write_bytes(b"".join(whole[:50:2]))
    folder.telemetry.unlink()
    return read_run(folder.path)


def _aborted(path: Path) -> Run:
    folder = write_folder(path, good_spec())
    verdict = read_json(folder.verdict, Verdict)
    verdict.outcome, verdict.reason = "aborted", "no replica is left"
    write_json(folder.verdict, verdict)
    return read_run(folder.path)


def _invalid(path: Path) -> Run:
    spec = good_spec()
    spec.log["result_validity"] = "INVALID"
    return run_of(path, spec)


def _conditions(path: Path) -> Run:
    """A shared device, and another version, without a slow replica."""
    spec = good_spec(400)
    spec.records = [replica_record(0), replica_record(1)]
    spec.records[1].before = [
        DeviceUse(device="gpu1", memory_used_bytes=2**30, utilization_pct=31)
    ]
    spec.records[1].versions = {"python": "3.12"}
    return run_of(path, spec)


RUNS: tuple[tuple[Callable[[Path], Run], tuple[str, ...]], ...] = (
    (_faults, ("fenced", "retried", "rejoined", "protocol")),
    (_lost, ("lost", "fenced")),
    (_lost_silently, ("lost",)),
    (lambda path: _idle(path, 201, 400), ("idle.time",)),
    (lambda path: _one_replica_idle(path, "offline"), ("idle.replica",)),
    (lambda path: _one_replica_idle(path, "singlestream"), ("idle.replica",)),
    (lambda path: _batches(path, 10, 0, 0.2), ("batch.starved",)),
    (lambda path: _batches(path, 40, 9, 0.99), ("batch.thin",)),
    (lambda path: _batches(path, 40, 9, 0.2), ("batch.thin",)),
    (lambda path: run_of(path, _server(100, grows_ms=2)), ("queue",)),
    (_queue_by_gate, ("queue", "gate.steady_state")),
    (lambda path: _arrivals(path, 104, 104), ("arrivals",)),
    (lambda path: _arrivals(path, 90, 99), ("arrivals",)),
    (lambda path: _arrivals(path, 90, None), ("arrivals",)),
    (_coordinator_and_memory, ("coordinator", "ecc")),
    (_answers, ("tokens.long", "tokens.single")),
    (_cold_first, ("cold.first",)),
    (_time, ("clock", "pause")),
    (_damaged, ("disagreement", "data")),
    (_aborted, ("aborted",)),
    (_invalid, ("gate.loadgen_validity",)),
    (_conditions, ("neighbor", "heterogeneous")),
)
"""Runs, and the findings that each of them is for."""
