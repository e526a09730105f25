"""A run folder around the records of a real run of 600 s on one H100."""

import gzip
from pathlib import Path

import msgspec

from record.folder import RunFolder, read_json, write_json
from record.structs import SettingsRecord
from tests.run_folder import FolderSpec, replica_record, sample, write_folder
from tests.shared_data import shared_data


def recorded_run(path: Path) -> RunFolder:
    """Return a folder at `path` that holds the recorded samples and telemetry."""
    data = shared_data("h100_interactive_600s")
    replica = msgspec.structs.replace(
        replica_record(0),
        node="vm",
        devices=["NVIDIA H100 80GB HBM3"],
        engine={"max_num_seqs": 512, "max_num_batched_tokens": 1536},
    )
    folder = write_folder(
        path,
        FolderSpec(
            scenario="interactive",
            streaming=True,
            replicas=1,
            samples=[sample(0)],
            records=[replica],
            log={
                "result_validity": "INVALID",
                "result_query_count": 31937,
                "generated_samples_per_query": 1,
                "requested_use_token_latencies": True,
                "effective_target_qps": 53.0,
            },
        ),
    )
    for name in ("samples.jsonl", "telemetry.jsonl"):
        (path / name).write_bytes(gzip.decompress((data / f"{name}.gz").read_bytes()))
    settings = read_json(folder.settings, SettingsRecord)
    settings.effective |= {
        "ttft_latency": 500_000_000,
        "tpot_latency": 30_000_000,
        "server_target_qps": 53.0,
    }
    write_json(folder.settings, settings)
    return folder
