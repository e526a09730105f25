"""Builds run folders as a finished run leaves them, for tests of what reads them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from conf.load import load_config, to_yaml
from record.folder import RunFolder, write_json, write_text
from record.structs import (
    ClockRecord,
    DeviceLine,
    EngineLine,
    EventRecord,
    ReplicaRecord,
    SampleRecord,
    SettingsRecord,
    TelemetryLine,
)
from scenarios.gate import judge
from scenarios.rules import rules

START_NS = 1_795_000_000_000_000_000
STOP = 2


@dataclass(kw_only=True)
class FolderSpec:
    """What the made-up run was."""

    mode: str = "performance"
    kind: str = "smoke"
    scenario: str = "offline"
    streaming: bool = False
    replicas: int = 2
    samples: list[SampleRecord] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)
    records: list[ReplicaRecord] = field(default_factory=list)
    """What stands in replicas.json; none: plain ones on one node."""
    telemetry: list[TelemetryLine] = field(default_factory=list)
    """None: one line of each kind."""
    answers: list[tuple[int, list[int], list[int] | None]] = field(default_factory=list)
    log: dict[str, object] = field(default_factory=dict)
    clock: ClockRecord | None = None
    """None: the clock was set at no time, and LoadGen's test just holds the samples."""
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def sample(seq: int, replica: int = 0, **changes: object) -> SampleRecord:
    """Return a completed sample; each takes 100 ms and they follow one another."""
    begin = START_NS + seq * 50_000_000
    values: dict[str, object] = {
        "seq": seq,
        "qsl_index": seq,
        "node": "n1",
        "replica": replica,
        "attempt": 1,
        "issued_ns": START_NS,
        "dispatched_ns": begin,
        "first_token_ns": None,
        "completed_ns": begin + 100_000_000,
        "queue_ns": 0,
        "prefill_ns": 10_000_000,
        "decode_ns": 90_000_000,
        "prompt_tokens": 600 + seq,
        "cached_tokens": 0,
        "output_tokens": 128,
        "finish_reason": "length",
        "status": "completed",
    }
    return msgspec.convert(values | changes, SampleRecord)


def good_spec(count: int = 64, replicas: int = 2) -> FolderSpec:
    """Return an Offline performance run in which all went well."""
    return FolderSpec(
        replicas=replicas,
        samples=[sample(i, i % replicas) for i in range(count)],
        log={
            "result_validity": "VALID",
            "result_query_count": 1,
            "generated_samples_per_query": count,
            "requested_use_token_latencies": True,
            "effective_sample_concatenate_permutation": False,
            "effective_accuracy_sample_count": count,
            "result_tokens_per_second": 128 * count / (0.05 * count + 0.05),
        },
    )


def write_folder(path: Path, spec: FolderSpec) -> RunFolder:
    """Write the folder, verdict included."""
    path.mkdir(parents=True)
    folder = RunFolder(path)
    write_text(folder.config, _config())
    scenario = {"offline": "Offline", "singlestream": "SingleStream"}
    loadgen_scenario = scenario.get(spec.scenario, "Server")
    official = rules("llama3_1-8b", loadgen_scenario)
    write_json(
        folder.settings,
        SettingsRecord(
            benchmark="datacenter",
            scenario=spec.scenario,
            mode=spec.mode,
            kind=spec.kind,
            streaming=spec.streaming,
            loadgen_model="llama3_1-8b",
            loadgen_scenario=loadgen_scenario,
            is_benchmark=False,
            stop_token_ids=[STOP],
            tokenizer=None,
            effective=dict(official),
            rules=official,
            relaxed=[],
        ),
    )
    plain = [replica_record(i) for i in range(spec.replicas)]
    write_json(folder.replicas, spec.records or plain)
    _write_lines(folder.samples, spec.samples)
    write_json(folder.clock, spec.clock or clock_record(spec.samples))
    _write_lines(folder.events, spec.events)
    _write_lines(
        folder.telemetry,
        spec.telemetry
        or [
            line
            for i in range(spec.replicas)
            for line in (
                EngineLine(
                    t_ns=START_NS,
                    node="n1",
                    replica=i,
                    running=3,
                    waiting=1,
                    kv_used=0.5,
                ),
                DeviceLine(
                    t_ns=START_NS,
                    node="n1",
                    replica=i,
                    device="cpu",
                    memory_used_bytes=2**30,
                ),
            )
        ],
    )
    _write_log(folder, spec)
    write_json(folder.verdict, judge(folder))
    return folder


@cache
def _config() -> str:
    return to_yaml(load_config(["engine=synthetic"]))


def _write_lines(path: Path, lines: Sequence[msgspec.Struct]) -> None:
    path.write_bytes(msgspec.json.Encoder().encode_lines(lines))


def replica_record(number: int) -> ReplicaRecord:
    """Return a replica that is ready."""
    return ReplicaRecord(
        replica=number,
        node="n1",
        pid=100 + number,
        devices=["cpu"],
        cpus=[number],
        versions={"python": "3.11"},
        model={"layers": 30},
        engine={"max_num_seqs": 64},
        memory_bytes=2**30,
        load_s=20.0,
        compile_s=None,
        warmup_s=5.0,
        first_request_s=2.0,
        last_request_s=1.6,
    )


def clock_record(samples: Sequence[SampleRecord], drift_ns: int = 0) -> ClockRecord:
    """Return the record of a clock that was watched while `samples` were made."""
    return ClockRecord(
        epoch_ns=START_NS,
        begin_ns=min((s.issued_ns for s in samples), default=START_NS),
        end_ns=max((s.completed_ns or s.issued_ns for s in samples), default=START_NS),
        largest_drift_ns=drift_ns,
    )


def _write_log(folder: RunFolder, spec: FolderSpec) -> None:
    entries: list[tuple[str, object, dict[str, bool]]] = [
        (key, value, {}) for key, value in spec.log.items()
    ]
    entries += [("error_runtime", text, {"is_error": True}) for text in spec.errors]
    entries += [("warning", text, {"is_warning": True}) for text in spec.warnings]
    folder.detail_log.write_text(
        "".join(
            ":::MLLOG " + json.dumps({"key": k, "value": v, "metadata": m}) + "\n"
            for k, v, m in entries
        )
    )
    records = []
    for seq, (index, tokens, first) in enumerate(spec.answers):
        extra = "" if first is None else f', "token_data" : "{_hex(first)}"'
        records.append(
            f'{{ "seq_id" : {seq}, "qsl_idx" : {index}, "data" : "{_hex(tokens)}"'
            f'{extra}, "token_count" : {len(tokens)} }}'
        )
    folder.accuracy_log.write_text("[\n" + ",\n".join(records) + "\n]\n")


def _hex(tokens: list[int]) -> str:
    return np.array(tokens, "<i4").tobytes().hex().upper()
