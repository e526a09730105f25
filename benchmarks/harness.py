"""What the harness itself costs: synthetic replicas that answer at once.

    python -m benchmarks.harness [--quick] [--repeat N] [CASE ...]

Each case is a run of `sut.main` with samples file, telemetry and live view on, or of
the naive shape (`naive_sut.py`). Before each, a loop that spins on every core for a
moment measures the machine at that time: its speed, and the processor time that it
did not get. Prints a Markdown table, and below it each case's command and LoadGen's own
summary.
"""

import argparse
import json
import multiprocessing
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.progress import track

from benchmarks.machine import Machine, look_at_machine
from benchmarks.one_node import one_node
from record.folder import RunFolder, read_json, read_lines
from record.loadgen_log import read_detail
from record.structs import ReplicaRecord, SampleRecord

ROOT = Path(__file__).resolve().parents[1]
AT_ONCE = [
    "experiment=harness",
    "engine.step_s=0",
    "engine.prefill_s_per_token=0",
    "engine.decode_s_per_sequence=0",
    "engine.output_tokens=2",
    "engine.max_num_batched_tokens=65536",
    "engine.max_num_seqs=1024",
    "cluster.replicas=2",
    "dataset.count=13368",
    "run.live=rich",
]
SHORT = ["dataset.prompt_tokens=64"]
NO_STEPS = ["run.steps=false"]


@dataclass(slots=True, kw_only=True)
class Case:
    """One run."""

    name: str
    server: bool
    prompts: str
    samples: int
    target_qps: float | None = None
    overrides: list[str] = field(default_factory=list)
    neighbor: bool = False
    naive: bool = False
    node: bool = False
    """Whether replicas are behind TCP and encryption, as on another host."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a run came to."""

    case: Case
    command: str
    rate: float
    ttft_p50_ms: float | None
    ttft_p99_ms: float | None
    coordinator_us: float
    replica_us: float
    machine: Machine
    summary: str


def cases(scale: float) -> list[Case]:
    """Return all cases; `scale` shortens them."""

    def count(samples: int) -> int:
        return int(samples * scale)

    def server(name: str, qps: int, seconds: int = 20, **more: object) -> Case:
        values = {"prompts": "real", **more}
        return Case(
            name=name,
            server=True,
            samples=count(qps * seconds),
            target_qps=qps,
            **values,  # type: ignore[arg-type]
        )

    def offline(name: str, samples: int = 500_000, **more: object) -> Case:
        values = {"prompts": "real", **more}
        return Case(name=name, server=False, samples=count(samples), **values)  # type: ignore[arg-type]

    short: dict[str, Any] = {"prompts": "64 tokens", "overrides": SHORT}
    return [
        offline("offline"),
        server("server", 20_000),
        server("server-1000", 1_000),
        offline("offline-short", **short),
        server("server-short", 60_000, 10, **short),
        offline("offline-no-steps", overrides=NO_STEPS),
        server("server-no-steps", 20_000, overrides=NO_STEPS),
        offline("offline-neighbor", neighbor=True),
        server("server-neighbor", 20_000, neighbor=True),
        offline("offline-node", node=True),
        server("server-node", 20_000, node=True),
        offline("naive-offline", 20_000, naive=True),
        *(
            server(f"naive-server-{qps}", qps, naive=True)
            for qps in (1_000, 2_000, 5_000, 10_000, 20_000)
        ),
    ]


def run(case: Case) -> Outcome:
    """Run a case and read what it left."""
    machine = look_at_machine()
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        command = _command(case, work)
        if case.node:
            command += stack.enter_context(one_node(Path(work)))
        neighbor = multiprocessing.Process(target=_spin, daemon=True)
        if case.neighbor:
            neighbor.start()
        try:
            cpu = _run_watched(command, Path(work) / "latest")
        finally:
            if case.neighbor:
                neighbor.kill()
        return _read(case, command, Path(work) / "latest", cpu, machine)


def _command(case: Case, work: str) -> list[str]:
    if case.naive:
        what = ["server", str(case.target_qps)] if case.server else ["offline", "1"]
        module = "benchmarks.naive_sut"
        return [sys.executable, "-m", module, work, *what, str(case.samples)]
    scenario = ["scenario=offline"]
    if case.server:
        scenario = ["scenario=server", f"scenario.target_qps={case.target_qps:g}"]
        # The p99 of everything, as the marks are stated.
        scenario.append("run.latency_percentile=0.99")
    return [
        *(sys.executable, "-m", "sut.main", *AT_ONCE, *case.overrides, *scenario),
        f"run.min_queries={case.samples}",
        f"run.dir={work}",
    ]


def _spin() -> None:
    while True:
        pass


def _run_watched(
    command: list[str], folder: Path
) -> dict[int, list[tuple[float, float]]]:
    """Run; return (time, CPU seconds) of the process and of its replicas, by pid."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    os.set_blocking(process.stderr.fileno(), False)  # type: ignore[union-attr]
    watched = {process.pid: psutil.Process(process.pid)}
    cpu: dict[int, list[tuple[float, float]]] = {}
    log = b""
    while process.poll() is None:
        # The live view would block on a full pipe.
        log = (log + (process.stderr.read() or b""))[-4000:]  # type: ignore[union-attr]
        if len(watched) == 1 and (folder / "replicas.json").exists():
            for record in read_json(folder / "replicas.json", list[ReplicaRecord]):
                watched[record.pid] = psutil.Process(record.pid)
        for pid, known in watched.items():
            try:
                used = known.cpu_times()
            except psutil.Error:
                continue
            cpu.setdefault(pid, []).append((time.time(), used.user + used.system))
        time.sleep(0.02)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{shlex.join(command)}\n{log.decode(errors='replace')}")
    return cpu


def _read(
    case: Case,
    command: list[str],
    path: Path,
    cpu: dict[int, list[tuple[float, float]]],
    machine: Machine,
) -> Outcome:
    folder = RunFolder(path)
    values = read_detail(folder.detail_log).values
    begin, end = _span(case, folder, path)
    coordinator, *replicas = (_used(line, begin, end) for line in cpu.values())
    rate = "result_completed_samples_per_sec" if case.server else ""
    shown = [part for part in command if str(path.parent) not in part]
    return Outcome(
        case=case,
        command=shlex.join(["python", *shown[1:]]),
        rate=float(values[rate]) if case.server else case.samples / (end - begin),
        ttft_p50_ms=_ms(values, "result_first_token_50.00_percentile_latency_ns"),
        ttft_p99_ms=_ms(values, "result_first_token_99.00_percentile_latency_ns"),
        coordinator_us=coordinator / case.samples * 1e6,
        replica_us=sum(replicas) / case.samples * 1e6,
        machine=machine,
        summary=folder.summary_log.read_text(),
    )


def _span(case: Case, folder: RunFolder, path: Path) -> tuple[float, float]:
    if case.naive:
        begin, end = json.loads((path / "span.json").read_text())
        return begin, end
    records: Iterator[SampleRecord] = read_lines(folder.samples, SampleRecord)
    times = np.array([(record.issued_ns, record.completed_ns) for record in records])
    return times[:, 0].min() / 1e9, times[:, 1].max() / 1e9


def _used(line: list[tuple[float, float]], begin: float, end: float) -> float:
    moments, seconds = np.array(line).T
    return float(np.diff(np.interp([begin, end], moments, seconds))[0])


def _ms(values: dict[str, object], key: str) -> float | None:
    return float(values[key]) / 1e6 if key in values else None  # type: ignore[arg-type]


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes as a Markdown table."""
    rows = [
        "| case | prompts | samples | asked/s | done/s | TTFT p50, ms | p99, ms"
        " | coordinator CPU, us/sample | replicas, us/sample"
        " | machine, M turns/s | lost |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for o in outcomes:
        asked = f"{o.case.target_qps:,.0f}" if o.case.target_qps else ""
        p50 = f"{o.ttft_p50_ms:.2f}" if o.ttft_p50_ms is not None else ""
        p99 = f"{o.ttft_p99_ms:.2f}" if o.ttft_p99_ms is not None else ""
        rows.append(
            f"| {o.case.name} | {o.case.prompts} | {o.case.samples:,} | {asked}"
            f" | {o.rate:,.0f} | {p50} | {p99} | {o.coordinator_us:.1f}"
            f" | {o.replica_us:.1f} | {o.machine.turns_m:.1f}"
            f" | {o.machine.lost_pct:.1f}% |"
        )
    return "\n".join(rows)


def main() -> None:
    """Run the cases asked for and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each case")
    parser.add_argument("case", nargs="*", help="names of cases; none: all")
    arguments = parser.parse_args()
    chosen = [
        case
        for case in cases(0.1 if arguments.quick else 1.0)
        if not arguments.case or case.name in arguments.case
    ]
    # Round by round, so that a bad minute of the machine does not hit one case alone.
    rounds = [case for _ in range(arguments.repeat) for case in chosen]
    outcomes = [run(case) for case in track(rounds, console=Console(stderr=True))]
    outcomes.sort(key=lambda outcome: chosen.index(outcome.case))
    print(table(outcomes))
    for outcome in outcomes:
        head = f"\n## {outcome.case.name}\n`{outcome.command}`\n"
        print(f"{head}```\n{outcome.summary.strip()}\n```")


if __name__ == "__main__":
    main()
