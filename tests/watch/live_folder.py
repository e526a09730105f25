"""A run folder as it is while the run lasts."""

from pathlib import Path
from typing import Any

from record.folder import RunFolder, write_json
from record.status import Percentiles, ReplicaStatus, RunStatus
from record.structs import DeviceLine, EngineLine, EventRecord, HostLine
from tests.run_folder import START_NS, FolderSpec, sample, write_folder

SECOND = 1_000_000_000
TTFT_NS = (500_000_000, 2_000_000_000, 3_000_000_000)
"""Within, exactly at, and beyond the limit of 2 s."""


def status(**changes: Any) -> RunStatus:
    """Return the state of a run with two replicas in its middle."""
    values: dict[str, Any] = {
        "state": "running",
        "updated_ns": START_NS + 60 * SECOND,
        "started_ns": START_NS,
        "begin_ns": START_NS + 10 * SECOND,
        "pid": 1,
        "host": "n1",
        "expected": 100,
        "issued": 50,
        "completed": 40,
        "waiting": 4,
        "running": 6,
        "samples_per_s": 2.5,
        "tokens_per_s": 320.0,
        "progress": 0.43,
        "eta_s": 33.0,
        "ttft_ms": Percentiles(p50=100.0, p99=900.0),
        "tpot_ms": Percentiles(p50=10.0, p99=20.0),
        "replicas": [
            ReplicaStatus(
                replica=0,
                node="n1",
                state="ready",
                phase="ready",
                sent=30,
                finished=24,
                outstanding=6,
                running=6,
                tokens_per_s=320.0,
            ),
            ReplicaStatus(replica=1, node="n1", state="lost", phase="lost"),
        ],
    }
    return RunStatus(**(values | changes))


def live_folder(path: Path) -> RunFolder:
    """Write a Server run that lasts: three answers, one fence, all telemetry."""
    samples = [
        sample(
            seq,
            issued_ns=START_NS,
            first_token_ns=START_NS + ttft,
            completed_ns=START_NS + ttft + 10 * 127_000_000,
        )
        for seq, ttft in enumerate(TTFT_NS)
    ]
    at: dict[str, Any] = {"t_ns": START_NS, "node": "n1"}
    folder = write_folder(
        path,
        FolderSpec(
            scenario="server",
            streaming=True,
            samples=samples,
            events=[EventRecord(kind="fence", replica=1, cause="gone", **at)],
            telemetry=[
                EngineLine(replica=0, running=6, waiting=2, kv_used=0.25, **at),
                DeviceLine(
                    replica=0,
                    device="0000:01:00.0",
                    memory_used_bytes=2**30,
                    utilization_pct=50.0,
                    sm_clock_mhz=1980,
                    xid=79,
                    **at,
                ),
                DeviceLine(
                    replica=0, device="0000:01:00.0", utilization_pct=70.0, **at
                ),
                HostLine(replica=None, process_cpu_pct=50.0, **at),
            ],
        ),
    )
    write_json(folder.status, status())
    return folder
