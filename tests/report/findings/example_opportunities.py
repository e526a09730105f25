"""Even Offline runs that leave something unused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from record.devices import DeviceLimits
from record.folder import RunFolder
from record.steps import STEP, header
from record.structs import DeviceLine, EngineLine
from report.findings.finding import Found
from report.findings.opportunities import opportunities
from report.reading.folder import read_run
from report.timeline.analysis import analyze
from report.timeline.inputs import inputs_of
from tests.run_folder import (
    START_NS,
    FolderSpec,
    good_spec,
    replica_record,
    write_folder,
)

Plain = dict[str, Any]
SECOND = 1_000_000_000
BASE_S, PROMPT_TOKEN_S, SEQUENCE_S = 0.008, 1e-5, 4e-5


def even_offline(
    path: Path,
    *,
    kv_used: float = 0.4,
    running: int = 60,
    clock: int = 1980,
    reasons: int = 0,
    steps: bool = True,
) -> RunFolder:
    """Write an even Offline run of 20 s with these readings."""
    spec: FolderSpec = good_spec(400)
    spec.records = [replica_record(0), replica_record(1)]
    for record in spec.records:
        record.engine |= {"max_num_seqs": 64}
        record.limits = [DeviceLimits(device="gpu0", sm_clock_mhz=1980)]
    spec.telemetry = []
    for second in range(20):
        for replica in (0, 1):
            at: Plain = {
                "t_ns": START_NS + second * SECOND,
                "node": "n1",
                "replica": replica,
            }
            spec.telemetry += [
                EngineLine(running=running, waiting=9, kv_used=kv_used, **at),
                DeviceLine(
                    device=f"gpu{replica}",
                    sm_clock_mhz=clock,
                    utilization_pct=99.0,
                    throttle_reasons=reasons,
                    **at,
                ),
            ]
    folder = write_folder(path, spec)
    if steps:
        folder.steps.write_bytes(header() + _steps().tobytes())
    return folder


def _steps() -> np.ndarray:
    draw = np.random.default_rng(0)
    records = np.zeros(2000, STEP)
    records["start_ns"] = START_NS + np.arange(2000) // 2 * SECOND // 50
    records["replica"] = np.arange(2000) % 2
    prefill = draw.integers(100, 2000, 2000)
    decode = draw.integers(20, 64, 2000)
    seconds = BASE_S + PROMPT_TOKEN_S * prefill + SEQUENCE_S * decode
    records["duration_ns"] = (seconds * 1e9).astype(np.int64)
    records["prefill_tokens"], records["decode_sequences"] = prefill, decode
    records["kv_blocks_free"] = -1
    return records


def unused(root: Path) -> Iterator[Found]:
    """Yield an example of each opportunity."""
    changes: list[Plain] = [
        {},
        {"running": 40},
        {"kv_used": 0.9, "clock": 1650, "reasons": 4},
        {"kv_used": 0.9, "clock": 1650},
    ]
    for number, change in enumerate(changes):
        run = read_run(even_offline(root / str(number), **change).path)
        yield from opportunities(run, analyze(inputs_of(run)))
