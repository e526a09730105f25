"""Targets for the files that runs and campaigns keep about themselves."""

import io
from collections.abc import Callable
from pathlib import Path

import msgspec
from prometheus_client import generate_latest
from rich.console import Console

from base.decode import DecodeError, decode_with
from base.errors import UserError
from campaigns.corun import __main__ as corun
from campaigns.corun.plan import left as left_coruns
from campaigns.corun.record import Corun, CorunRun, Measured, Workload, WorkloadResult
from campaigns.corun.result import _page
from campaigns.qualify.record import (
    CheckResult,
    HardwareFact,
    HistoryPoint,
    NodeResult,
    OddAnswers,
    Qualification,
    QualifyRun,
    ReplicaMeasure,
    ReplicaResult,
    read_qualification,
)
from campaigns.qualify.reference import read_references
from campaigns.qualify.result import as_page, as_text, junit
from campaigns.sweep import __main__ as sweep
from campaigns.sweep.points import read_points
from campaigns.sweep.record import Sweep, SweepRun
from campaigns.sweep.result import _csv, _latencies, _table, point_results
from campaigns.tune import __main__ as tune
from campaigns.tune.options import TuneOptions, parse
from campaigns.tune.record import Candidate, Gain, Tune, TuneResult, TuneRun
from campaigns.tune.result import write_page
from history.entry import read_entry
from record.campaign import (
    Campaign,
    CampaignRun,
    CampaignSize,
    LimitResult,
    SearchResult,
    read_campaign,
)
from record.folder import RecordError, RunFolder, read_json, write_json
from record.status import Percentiles, ReplicaStatus, RunStatus, read_status
from record.structs import ClockRecord
from report.reading.forecast import read_forecast
from sut.engines.endpoint.client import ServerLostError
from sut.engines.endpoint.server import parse_state
from sut.wire.launcher_messages import FromLauncher
from tests.fuzz.damage import damaged_bytes, damaged_text
from tests.fuzz.target import Target
from tests.run_folder import good_spec, replica_record, write_folder
from watch.live_run import LiveRun, read_settings
from watch.metrics import RunCollector
from watch.screen import run_lines, run_screen, status_line

_METRICS = b"""# HELP vllm:num_requests_running Running.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 1
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0"} 0.25
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",enable_prefix_caching="False"} 1.0
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0"} 0.0
"""
_REFERENCES = b"""references:
- device: NVIDIA H100 80GB HBM3
  settings: {model.name: llama3_1-8b, engine.name: vllm}
  offline_tokens_per_s: [100.0, 110.0]
  source: a run
  measured: '2026-11'
"""
_POINTS = b"""- engine.max_num_seqs: 8
  scenario.target_qps: 1.5
- {engine.max_num_seqs: 16, engine.env: {A: b}}
"""
_ANSWERS: tuple[bytes, ...] = (
    b'{"type":"connected","version":"2.40","nodes":[]}',
    b'{"type":"note","text":"x"}',
    b'{"type":"failed","cause":"x","misconfigured":false}',
)


def state_targets(folder: Path) -> list[Target]:
    """Return the targets; `folder` takes the files that they read."""
    return [
        *_of_a_run(folder / "state"),
        *_of_campaigns(folder / "campaigns"),
        Target(
            name="metrics page of a server",
            inputs=damaged_text([_METRICS]),
            run=parse_state,
            errors=(ServerLostError,),
        ),
        Target(
            name="metrics page of a server, bytes",
            inputs=damaged_bytes([_METRICS]),
            run=parse_state,
            errors=(ServerLostError,),
        ),
        Target(
            name="messages of the launcher",
            inputs=damaged_text(_ANSWERS),
            run=lambda data: decode_with(msgspec.json.Decoder(FromLauncher), data),
            errors=(DecodeError,),
        ),
    ]


def _of_a_run(folder: Path) -> list[Target]:
    run = write_folder(folder, good_spec(6))
    write_json(run.status, A_STATUS)
    run.forecast.write_bytes(A_FORECAST)
    run.source.write_bytes(b'{"sut/main.py":"0a"}')
    write_json(
        run.clock, ClockRecord(epoch_ns=0, begin_ns=1, end_ns=9, largest_drift_ns=0)
    )
    watched = ("status.json", "settings.json", "samples.jsonl", "telemetry.jsonl")
    return [
        _target(run.status, lambda _: _shown(read_status(run)), "status.json"),
        _target(
            run.forecast,
            lambda path: read_forecast(path, [replica_record(0)]),
            "forecast.json",
        ),
        _target(run.source, lambda path: read_json(path, dict[str, str]), "source"),
        _target(run.clock, lambda path: read_json(path, ClockRecord), "clock.json"),
        *(
            _target(run / name, lambda _: _watched(run), f"watch, {name}", slow=True)
            for name in (*watched, "events.jsonl")
        ),
        *(
            _target(
                run / name,
                lambda _: read_entry(run.path, run.path.parent),
                f"list of runs, {name}",
                slow=True,
            )
            for name in (*watched[:2], "verdict.json", "replicas.json", "config.yaml")
        ),
    ]


def _shown(status: RunStatus) -> str:
    return status_line(status)


def _watched(run: RunFolder) -> None:
    live = LiveRun(run)
    live.refresh()
    generate_latest(_Registry(RunCollector(live, read_settings(run))))
    run_lines(live)
    Console(file=io.StringIO()).print(run_screen(live))


class _Registry:
    """Stands for a registry with one collector, which keeps no state."""

    def __init__(self, collector: RunCollector) -> None:
        self.collect = collector.collect


def _of_campaigns(folder: Path) -> list[Target]:
    folder.mkdir()
    points = folder / "points.yaml"
    points.write_bytes(_POINTS)
    references = folder / "reference.yaml"
    references.write_bytes(_REFERENCES)
    write_json(folder / "campaign.json", A_CAMPAIGN)
    write_json(folder / "qualify.json", A_QUALIFICATION)
    for name, record in (("sweep", A_SWEEP), ("corun", A_CORUN), ("tune", A_TUNE)):
        write_json(folder / f"{name}.json", record)
    return [
        _target(points, read_points, "points of a sweep"),
        _target(references, read_references, "reference file"),
        _target(folder / "campaign.json", lambda _: read_campaign(folder), "campaign"),
        _target(folder / "qualify.json", lambda _: _qualified(folder), "qualify.json"),
        _target(folder / "sweep.json", lambda _: _swept(folder), "sweep.json"),
        _target(folder / "corun.json", lambda _: _corun(folder), "corun.json"),
        _target(folder / "tune.json", lambda _: _tuned(folder), "tune.json", slow=True),
    ]


def _qualified(folder: Path) -> None:
    record = read_qualification(folder)
    as_text(record)
    junit(record)
    as_page(record)


def _swept(folder: Path) -> None:
    found = sweep._resumed(folder, A_SWEEP)
    sweep.left(found)
    results = point_results(found)
    _table(results, _latencies(results))
    _csv(found)


def _corun(folder: Path) -> None:
    found = corun._resumed(folder, A_CORUN)
    left_coruns(found)
    "\n".join(_page(found))


def _tuned(folder: Path) -> None:
    write_page(folder, tune._resumed(folder, _OPTIONS))


A_STATUS = RunStatus(
    state="running",
    updated_ns=2,
    started_ns=1,
    begin_ns=1,
    pid=7,
    host="n0",
    expected=6,
    samples_per_s=1.5,
    tokens_per_s=2.5,
    progress=0.5,
    eta_s=9.0,
    ttft_ms=Percentiles(p50=1.0, p99=2.0),
    replicas=[ReplicaStatus(replica=0, node="n0", state="ready", phase="")],
)
A_FORECAST = (
    b'{"replicas":1,"max_num_seqs":4,"max_num_batched_tokens":8,"beyond":[],'
    b'"highest_rate":{"value":3.5,"low":3.0,"high":4.0}}'
)
_FIGURES = {"tokens_per_s": 10.0, "tokens_per_s_per_device": 10.0, "samples_per_s": 1.0}
A_SWEEP = Sweep(
    shared=["scenario=offline"],
    points=[{"a": "1"}, {"a": "2"}],
    repeats=2,
    seed=1,
    runs=[
        SweepRun(
            point=p, repeat=0, run=f"r{p}", seconds=1.0, valid=True, figures=_FIGURES
        )
        for p in range(2)
    ],
)
A_CORUN = Corun(
    shared=[],
    workloads=[Workload(name="a"), Workload(name="b", cores=[0])],
    repeats=1,
    seed=1,
    runs=[CorunRun(round=0, workload="a", together=False, run="r", seconds=1.0)],
    results=[
        WorkloadResult(
            workload="a",
            rounds=1,
            valid_alone=1,
            valid_together=1,
            measures=[
                Measured(
                    name="tokens_per_s",
                    unit="tokens/s",
                    higher_is_better=True,
                    alone=2.0,
                    together=1.0,
                    ratio=0.5,
                    low=0.4,
                    high=0.6,
                )
            ],
        )
    ],
)
_OPTIONS: TuneOptions = parse(
    ["engine=synthetic", "dataset=synthetic", "max_num_seqs=8,16"]
)
A_TUNE = Tune(
    shared=_OPTIONS.shared,
    knobs=[str(knob) for knob in _OPTIONS.knobs],
    where=[],
    objective=_OPTIONS.objective.name,
    better=_OPTIONS.objective.better,
    limits=[],
    candidates=[
        Candidate(point={}, origin="default"),
        Candidate(point={"engine.max_num_seqs": "8"}, origin="optuna", predicted=2.0),
    ],
    made=[
        TuneRun(candidate=c, phase="screen", pair=0, run=f"r{c}", value=2.0 + c)
        for c in range(2)
    ]
    + [
        TuneRun(candidate=c, phase="pair", pair=0, against=1, run=f"p{c}", value=2.0)
        for c in range(2)
    ],
    result=TuneResult(
        better=True,
        candidate=1,
        point={"engine.max_num_seqs": "8"},
        own=Gain(gain=0.1, low=0.05, high=0.2, pairs=2),
    ),
)
_CHECK = CheckResult(name="alone", outcome="failed", reason="slow", value=1.0)
A_QUALIFICATION = Qualification(
    command=["qualify"],
    started="2026-11-28T12:00:00Z",
    status="failed",
    settings={"model.name": "m"},
    runs=[
        QualifyRun(
            phase="offline_alone",
            members=[0],
            round=0,
            run="r",
            seconds=1.0,
            measures=[
                ReplicaMeasure(
                    replica=0,
                    node="n0",
                    devices=["cpu"],
                    hardware=[HardwareFact(code="xid", severity="note", text="x")],
                )
            ],
        )
    ],
    odd_answers=[OddAnswers(replica=0, node="n0", text="odd")],
    replicas=[
        ReplicaResult(
            replica=0,
            node="n0",
            devices=["cpu"],
            outcome="failed",
            checks=[_CHECK],
            history=[HistoryPoint(started="2026", tokens_per_s=1.0)],
        )
    ],
    nodes=[
        NodeResult(node="n0", outcome="failed", replicas=1, failed=[0], checks=[_CHECK])
    ],
)
A_CAMPAIGN = Campaign(
    kind="scaling",
    command=["python"],
    scenario="server",
    started="2026",
    sizes=[CampaignSize(replicas=1, sustained_qps=1.0)],
    runs=[CampaignRun(run="r", replicas=1, phase="search", rate=1.0)],
    search=SearchResult(
        target_qps=1.0,
        limits=[
            LimitResult(name="TTFT p99", value=1.0, limit=2.0, unit="ms", headroom=0.5)
        ],
    ),
)


def _target(
    path: Path, read: Callable[[Path], object], name: str, *, slow: bool = False
) -> Target:
    valid = path.read_bytes()

    def run(data: bytes) -> None:
        path.write_bytes(data)
        read(path)

    return Target(
        name=name,
        inputs=damaged_text([valid]),
        run=run,
        errors=(RecordError, UserError),
        reset=lambda: path.write_bytes(valid),
        slow=slow,
    )
