"""Writes the folder of a large made-up run, to measure what its report costs.

    python benchmarks/report_cost.py FOLDER [--samples 1000000] [--replicas 512]
    /usr/bin/time -v python -m report FOLDER

Server, ten minutes: samples, telemetry once a second, 33 engine steps/s a replica.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from record.steps import STEP, header
from tests.run_folder import (
    START_NS,
    FolderSpec,
    replica_record,
    sample,
    write_folder,
)

SECONDS = 600
_PER_NODE = 8
_STEP_S = 0.03


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--replicas", type=int, default=512)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    records = [
        msgspec.structs.replace(replica_record(i), node=f"node{i // _PER_NODE:02d}")
        for i in range(options.replicas)
    ]
    folder = write_folder(
        options.folder,
        FolderSpec(
            scenario="server",
            streaming=True,
            replicas=options.replicas,
            samples=[sample(0)],
            records=records,
            log={
                "result_validity": "VALID",
                "result_query_count": options.samples,
                "generated_samples_per_query": 1,
                "requested_use_token_latencies": True,
            },
        ),
    )
    with folder.samples.open("w") as file:
        file.writelines(_samples(options.samples, options.replicas, draw))
    with folder.telemetry.open("w") as file:
        file.writelines(_telemetry(options.replicas, draw))
    with folder.steps.open("wb") as steps:
        steps.write(header())
        for replica in range(options.replicas):
            steps.write(_steps(replica, draw).tobytes())


def _samples(count: int, replicas: int, draw: np.random.Generator) -> Iterator[str]:
    issued = np.sort(draw.uniform(0, SECONDS, count)) * 1e9
    ttft = draw.gamma(4, 2.5e7, count)
    decode = draw.normal(127 * _STEP_S, 0.1, count) * 1e9
    prompt = draw.integers(200, 1500, count)
    owner = np.arange(count) % replicas
    for i in np.argsort(issued + ttft + decode).tolist():
        begin = START_NS + int(issued[i])
        first, end = begin + int(ttft[i]), begin + int(ttft[i] + decode[i])
        yield (
            f'{{"seq":{i},"qsl_index":{i % 13368},'
            f'"node":"node{owner[i] // _PER_NODE:02d}",'
            f'"replica":{owner[i]},"attempt":1,"issued_ns":{begin},'
            f'"dispatched_ns":{begin + 200_000},"first_token_ns":{first},'
            f'"completed_ns":{end},"queue_ns":1000000,"prefill_ns":{int(ttft[i])},'
            f'"decode_ns":{int(decode[i])},"residence_ns":{int(ttft[i] + decode[i])},'
            f'"prompt_tokens":{prompt[i]},"cached_tokens":0,"output_tokens":128,'
            '"finish_reason":"length","status":"completed"}\n'
        )


def _telemetry(replicas: int, draw: np.random.Generator) -> Iterator[str]:
    for second in range(SECONDS):
        t_ns = START_NS + second * 10**9
        busy = draw.integers(92, 100, replicas)
        clock = draw.integers(1700, 1800, replicas)
        for i in range(replicas):
            head = (
                f'"t_ns":{t_ns + i * 1000},"node":"node{i // _PER_NODE:02d}",'
                f'"replica":{i}'
            )
            yield (
                f'{{"source":"device",{head},"device":"gpu0",'
                '"memory_used_bytes":70000000000,"memory_total_bytes":80000000000,'
                f'"utilization_pct":{busy[i]},"power_w":{600 + busy[i]},'
                f'"temperature_c":60,"sm_clock_mhz":{clock[i]},"memory_clock_mhz":2619,'
                '"throttle_reasons":4,"ecc_errors":0}\n'
            )
            yield (
                f'{{"source":"engine",{head},"running":12,"waiting":0,"kv_used":0.2}}\n'
            )
            yield (
                f'{{"source":"host",{head},"process_cpu_pct":{busy[i]},'
                '"host_cpu_pct":30.0,"steal_pct":0.0,"involuntary_switches":'
                f"{second * 4}}}\n"
            )


def _steps(replica: int, draw: np.random.Generator) -> np.ndarray:
    count = int(SECONDS / _STEP_S)
    part = np.zeros(count, STEP)
    part["prefill_tokens"] = np.where(
        draw.random(count) < 0.1, draw.integers(200, 1500, count), 0
    )
    part["decode_sequences"] = draw.integers(8, 16, count)
    took = 0.027 + 1e-6 * part["prefill_tokens"] + 1e-4 * part["decode_sequences"]
    took *= np.exp(draw.normal(0, 0.02, count))
    part["start_ns"] = START_NS + (np.cumsum(took) - took) * 1e9
    part["duration_ns"] = took * 1e9
    part["running"], part["kv_blocks_free"] = 12, 30_000
    part["replica"] = replica
    return part


if __name__ == "__main__":
    main()
