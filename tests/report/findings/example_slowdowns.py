"""Findings of slow replicas and of several sizes, with example values."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from record.devices import DeviceLimits, DeviceUse
from record.structs import DeviceLine, EngineLine, HostLine
from report.content import make_report
from report.findings.causes import causes
from report.findings.finding import Found
from report.findings.scaling import scaling_findings
from report.findings.slow import slowdown
from report.findings.slow_context import slow_context
from report.findings.slowdowns import Slowdown
from report.reading.run import Run
from report.statistics.sizes import scaling_by_size
from tests.report.findings.examples import run_of
from tests.run_folder import (
    START_NS,
    FolderSpec,
    good_spec,
    replica_record,
    sample,
)

SECOND = 1_000_000_000
Plain = dict[str, Any]


def slow_findings(root: Path) -> Iterator[Found]:
    """Yield one finding for each cause of a slowdown: replica 1 beside replica 0."""
    slow = Slowdown(
        where=["replica 1"],
        level="replica",
        replicas=[1],
        measure="service",
        in_span=0.12,
        overall=0.11,
        p=2e-7,
        begin_s=0.0,
        end_s=20.0,
        whole=True,
        from_start=True,
        drift=False,
        by_measure={"service": 0.11, "ttft": 0.04, "tpot": 0.12},
    )
    early = replace(slow, whole=False, end_s=5.0)
    drift = replace(slow, whole=False, from_start=False, begin_s=10.0, drift=True)
    cases: tuple[tuple[Plain, Slowdown], ...] = (
        ({}, slow),
        ({"recorded": False}, slow),
        ({"throttle": 0x20, "clock": 1500}, slow),
        ({"throttle": 0x4, "clock": 1500}, slow),
        ({"clock": 1500}, slow),
        ({"outside_ms": 12.0}, slow),
        ({"longer": 1.4}, slow),
        ({"switches": 900}, slow),
        ({}, early),
        ({"clock": 1500}, drift),
        ({"running": 48.0, "answer": 140}, slow),
        ({"neighbor": 31.0}, slow),
        ({"neighbor": 0.0}, slow),
        ({"power": 500.0}, slow),
    )
    for number, (change, found) in enumerate(cases):
        run = _pair(root / str(number), **change)
        context = slow_context(run, found, [found])
        yield slowdown(context, causes(context), (0.0, run.wall_s))


def _pair(
    path: Path,
    *,
    recorded: bool = True,
    throttle: int = 0,
    clock: int = 1980,
    outside_ms: float = 0.0,
    longer: float = 1.0,
    switches: int = 0,
    running: float = 32.0,
    answer: int = 100,
    neighbor: float | None = None,
    power: float = 700.0,
) -> Run:
    """Return a Server run of two replicas; the arguments are those of replica 1."""
    spec = FolderSpec(scenario="server", streaming=True)
    for seq in range(400):
        slow = seq % 2
        begin = START_NS + seq * SECOND // 20
        outside = int(outside_ms * 1e6 * slow)
        inside = SECOND + (0 if outside else slow * SECOND // 100)
        spec.samples.append(
            sample(
                seq,
                slow,
                issued_ns=begin,
                dispatched_ns=begin,
                first_token_ns=begin + 50_000_000,
                completed_ns=begin + inside + outside + 1_000_000,
                residence_ns=inside,
                prompt_tokens=int((800 + seq % 7) * (longer if slow else 1)),
                output_tokens=answer if slow else 100,
            )
        )
    spec.records = [replica_record(0), replica_record(1)]
    for record in spec.records:
        watts = power if record.replica else 700.0
        record.limits = [DeviceLimits(device=f"gpu{record.replica}", power_w=watts)]
    if neighbor is not None:
        spec.records[1].before = [
            DeviceUse(
                device="gpu1", memory_used_bytes=3 * 2**30, utilization_pct=neighbor
            )
        ]
    for second in range(20) if recorded else ():
        for replica in (0, 1):
            slow = replica
            at: Plain = {
                "t_ns": START_NS + second * SECOND,
                "node": "n1",
                "replica": replica,
            }
            spec.telemetry += [
                DeviceLine(
                    device=f"gpu{replica}",
                    sm_clock_mhz=clock if slow else 1980,
                    power_w=650.0,
                    temperature_c=66.0,
                    utilization_pct=99.0,
                    throttle_reasons=throttle if slow else 0,
                    **at,
                ),
                EngineLine(
                    running=int(running if slow else 32), waiting=1, kv_used=0.5, **at
                ),
                HostLine(
                    process_cpu_pct=101.0,
                    host_cpu_pct=40.0,
                    steal_pct=0.0,
                    involuntary_switches=second * (switches if slow else 3),
                    **at,
                ),
            ]
    return run_of(path, spec)


def _offline(path: Path, replicas: int, seconds: float) -> Run:
    """Return an Offline run of 64 samples for each replica that takes so long."""
    spec = good_spec(64 * replicas, replicas)
    step = int(seconds * 1e9 / 64)
    for record in spec.samples:
        turn = record.seq // replicas
        record.dispatched_ns = START_NS + turn * step
        record.completed_ns = START_NS + (turn + 1) * step
    spec.records = [replica_record(number) for number in range(replicas)]
    spec.telemetry = [
        HostLine(
            t_ns=START_NS + second * SECOND,
            node="n1",
            replica=replica,
            process_cpu_pct=100.0 / replicas,
        )
        for second in range(5)
        for replica in range(replicas)
    ]
    return run_of(path, spec)


def size_findings(root: Path) -> Iterator[Found]:
    """Yield findings on the efficiency and the conditions of several sizes."""
    base = [_offline(root / f"1-{n}", 1, s) for n, s in enumerate((10.0, 10.1, 9.9))]
    for size, seconds in ((2, 12.0), (4, 10.6)):
        runs = [
            *base,
            *(_offline(root / f"{size}-{n}", size, seconds + n / 20) for n in range(3)),
        ]
        for run in runs[3:]:
            run.replicas[0].engine = run.replicas[0].engine | {"max_num_seqs": 32}
        yield from scaling_findings(runs, scaling_by_size(runs))
    none = _offline(root / "none", 2, 10.0)
    none.samples.done[:] = False
    yield from scaling_findings([*base, none], scaling_by_size([*base, none]))


def campaign_findings(root: Path) -> Iterator[Found]:
    """Yield findings of a report of several runs that name the other run."""
    runs = []
    for number, seqs in enumerate(((), (9,), (4, 9))):
        spec = good_spec()
        for seq in seqs:
            spec.samples[seq].output_tokens = 129
        runs.append(run_of(root / f"run-{number}", spec))
    for finding in make_report(runs).content.findings:
        if finding.code == "tokens.long":
            yield Found(finding=finding)
