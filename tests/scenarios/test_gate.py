from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from record.folder import read_json
from record.structs import EventRecord, Relaxed, ReplicaRecord, SettingsRecord, Verdict
from scenarios.gate import aborted, judge
from tests.run_folder import (
    START_NS,
    STOP,
    FolderSpec,
    clock_record,
    good_spec,
    sample,
    write_folder,
)

Spoil = Callable[[FolderSpec], None]


def _judge(tmp_path: Path, spec: FolderSpec) -> Verdict:
    return judge(write_folder(tmp_path / "run", spec))


def _failures(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.failures]


def _accuracy_spec(count: int = 8) -> FolderSpec:
    spec = good_spec(count)
    spec.mode, spec.streaming, spec.scenario = "accuracy", True, "server"
    spec.answers = [(i, [10 + i, 11, STOP], [10 + i]) for i in range(count)]
    return spec


def _compliance_spec() -> FolderSpec:
    spec = good_spec(100)
    spec.mode = "compliance"
    spec.warnings = ["Found Audit Config file (audit.config)."]
    spec.answers = [(i, [10 + i, 11, 12], None) for i in range(100)]
    return spec


def test_a_good_smoke_run_passes_and_names_what_was_relaxed(tmp_path: Path) -> None:
    verdict = _judge(tmp_path, good_spec())
    assert verdict.outcome == "passed"
    assert not verdict.degraded
    assert not verdict.submission_candidate
    skipped = [c.name for c in verdict.checks if c.outcome == "skipped"]
    assert skipped == ["equal_issue"]


def test_a_good_full_run_of_the_benchmark_is_a_candidate(tmp_path: Path) -> None:
    spec = good_spec()
    spec.kind = "full"
    spec.log["effective_sample_concatenate_permutation"] = True
    folder = write_folder(tmp_path / "run", spec)
    settings = read_json(folder.settings, SettingsRecord)
    settings.is_benchmark = True
    folder.settings.write_bytes(msgspec.json.encode(settings))
    verdict = judge(folder)
    assert verdict.outcome == "passed"
    assert verdict.submission_candidate


def _lose(spec: FolderSpec) -> None:
    spec.samples[3] = sample(3, status="lost", completed_ns=None, output_tokens=0)


def _miss(spec: FolderSpec) -> None:
    spec.samples.pop()


def _double(spec: FolderSpec) -> None:
    spec.samples.append(spec.samples[0])


def _invalid(spec: FolderSpec) -> None:
    spec.log["result_validity"] = "INVALID"


def _no_latencies(spec: FolderSpec) -> None:
    spec.log["requested_use_token_latencies"] = False


def _error(spec: FolderSpec) -> None:
    spec.errors.append("Attempted to complete a sample twice.")


def _too_long(spec: FolderSpec) -> None:
    spec.samples[0] = sample(0, output_tokens=129)


def _cached(spec: FolderSpec) -> None:
    spec.samples[0] = sample(0, cached_tokens=16)


def _audited(spec: FolderSpec) -> None:
    spec.warnings.append("Found Audit Config file (audit.config).")


def _no_result(spec: FolderSpec) -> None:
    del spec.log["result_validity"]


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (_lose, "samples_lost"),
        (_miss, "samples_completed"),
        (_double, "samples_completed_twice"),
        (_invalid, "loadgen_validity"),
        (_no_result, "loadgen_validity"),
        (_no_latencies, "token_latencies"),
        (_error, "loadgen_errors"),
        (_too_long, "tokens_per_sample_max"),
        (_cached, "prefix_cache_hit_tokens"),
        (_audited, "audit_file_read"),
    ],
)
def test_a_spoiled_performance_run_fails(
    tmp_path: Path, spoil: Spoil, check: str
) -> None:
    spec = good_spec()
    spoil(spec)
    verdict = _judge(tmp_path, spec)
    assert verdict.outcome == "failed"
    assert check in _failures(verdict)
    assert check in verdict.reason or _failures(verdict)[0] in verdict.reason


def test_full_runs_must_issue_equally(tmp_path: Path) -> None:
    spec = good_spec()
    spec.kind = "full"
    assert _failures(_judge(tmp_path, spec)) == ["equal_issue"]


def test_a_lost_replica_degrades(tmp_path: Path) -> None:
    spec = good_spec()
    spec.events = [EventRecord(t_ns=START_NS, kind="fence", replica=1, cause="killed")]
    verdict = _judge(tmp_path, spec)
    assert verdict.outcome == "passed"
    assert verdict.degraded


def test_accuracy(tmp_path: Path) -> None:
    assert _judge(tmp_path, _accuracy_spec()).outcome == "passed"


def _index_twice(spec: FolderSpec) -> None:
    spec.answers[1] = spec.answers[0]


def _index_missing(spec: FolderSpec) -> None:
    spec.answers.pop()


def _stop_inside(spec: FolderSpec) -> None:
    spec.answers[0] = (0, [10, STOP, 11], [10])


def _double_stop(spec: FolderSpec) -> None:
    spec.answers[0] = (0, [10, STOP, STOP], [10])


def _wrong_first(spec: FolderSpec) -> None:
    spec.answers[0] = (0, [10, 11], [9])


def _no_first(spec: FolderSpec) -> None:
    spec.answers[0] = (0, [10, 11], None)


def _empty(spec: FolderSpec) -> None:
    spec.answers[0] = (0, [], [10])


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (_index_twice, "indices_answered_once"),
        (_index_missing, "indices_answered_once"),
        (_stop_inside, "token_checks"),
        (_double_stop, "token_checks"),
        (_wrong_first, "token_checks"),
        (_no_first, "token_checks"),
        (_empty, "token_checks"),
        (_error, "loadgen_errors"),
    ],
)
def test_a_spoiled_accuracy_run_fails(tmp_path: Path, spoil: Spoil, check: str) -> None:
    spec = _accuracy_spec()
    spoil(spec)
    assert _failures(_judge(tmp_path, spec)) == [check]


def test_compliance(tmp_path: Path) -> None:
    assert _judge(tmp_path, _compliance_spec()).outcome == "passed"


def test_compliance_needs_its_audit_file_and_100_samples(tmp_path: Path) -> None:
    spec = _compliance_spec()
    spec.warnings, spec.answers = [], spec.answers[:99]
    assert _failures(_judge(tmp_path, spec)) == ["audit_file_read", "samples_logged"]


def test_an_aborted_run_says_why(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    verdict = aborted(folder, "no replica is left")
    assert verdict.outcome == "aborted"
    assert verdict.reason == "no replica is left"


def test_what_was_relaxed_is_named_however_the_run_ended(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    settings = read_json(folder.settings, SettingsRecord)
    settings.relaxed = [Relaxed(setting="min_query_count", value=48, rule=13368)]
    folder.settings.write_bytes(msgspec.json.encode(settings))
    for verdict in (judge(folder), aborted(folder, "no replica is left")):
        assert verdict.relaxed == ["min_query_count: 48 (rule: 13368)"]


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ({"result_perf_constraints_met": False}, "latency limits were exceeded"),
        ({"result_min_duration_met": False}, "it was too short"),
        (
            {
                "early_stopping_met": False,
                "early_stopping_ttft_result": "",
                "early_stopping_tpot_result": " * Run unsuccessful.\n * Would need to"
                " run at least 309 more queries,\n if all were in time.",
            },
            "early stopping: Run unsuccessful. Would need to run at least 309 more"
            " queries, if all were in time.",
        ),
        (
            {
                "early_stopping_met": False,
                "early_stopping_result": " * Only processed 20 queries.\n * Need to"
                " process at least 64 queries for early stopping.",
            },
            "early stopping: Only processed 20 queries. Need to process at least 64",
        ),
        ({"early_stopping_met": False}, "early stopping: not satisfied"),
        ({"result_invalid_reason": "own words", "early_stopping_met": False}, "own"),
    ],
)
def test_an_invalid_run_says_why(
    tmp_path: Path, log: dict[str, object], message: str
) -> None:
    spec = good_spec()
    spec.log |= {"result_validity": "INVALID", **log}
    verdict = judge(write_folder(tmp_path / "run", spec))
    assert message in verdict.reason


def _first_too_early(spec: FolderSpec) -> None:
    spec.samples[0] = sample(0, first_token_ns=START_NS - 1)


def _first_too_late(spec: FolderSpec) -> None:
    spec.samples[0] = sample(0, first_token_ns=START_NS + 100_000_001)


def _completed_before_dispatch(spec: FolderSpec) -> None:
    spec.samples[5] = sample(5, completed_ns=START_NS + 1)


def _dispatched_before_issue(spec: FolderSpec) -> None:
    spec.samples[5] = sample(5, dispatched_ns=START_NS - 1)


def _negative_duration(spec: FolderSpec) -> None:
    spec.samples[0] = sample(0, queue_ns=-1)


def _duration_beyond_the_run(spec: FolderSpec) -> None:
    spec.samples[0] = sample(0, residence_ns=10**12)


def _completed_after_the_run(spec: FolderSpec) -> None:
    spec.clock = clock_record(spec.samples)
    spec.samples[0] = sample(0, completed_ns=spec.clock.end_ns + 1)


def _issued_before_the_run(spec: FolderSpec) -> None:
    spec.clock = clock_record(spec.samples)
    spec.samples[0] = sample(0, issued_ns=spec.clock.begin_ns - 1)


def _negative_latency(spec: FolderSpec) -> None:
    spec.log["result_min_latency_ns"] = -4_800_000_000


def _latency_beyond_the_run(spec: FolderSpec) -> None:
    spec.log["result_mean_latency_ns"] = 30_744_548_443_000_000


@pytest.mark.parametrize(
    "spoil",
    [
        _first_too_early,
        _first_too_late,
        _completed_before_dispatch,
        _dispatched_before_issue,
        _negative_duration,
        _duration_beyond_the_run,
        _completed_after_the_run,
        _issued_before_the_run,
        _negative_latency,
        _latency_beyond_the_run,
    ],
)
def test_impossible_times_fail(tmp_path: Path, spoil: Spoil) -> None:
    spec = good_spec()
    spoil(spec)
    verdict = _judge(tmp_path, spec)
    assert _failures(verdict) == ["times_possible"]
    assert verdict.failures[0].value == 1


def test_a_first_token_of_an_earlier_attempt_is_possible(tmp_path: Path) -> None:
    spec = good_spec()
    spec.samples[1] = sample(
        1,
        attempt=2,
        dispatched_ns=START_NS + 50_000_000,
        first_token_ns=START_NS + 20_000_000,
    )
    assert _judge(tmp_path, spec).outcome == "passed"


def test_a_clock_that_was_set_fails(tmp_path: Path) -> None:
    spec = good_spec()
    spec.clock = clock_record(spec.samples, drift_ns=-1_000_000_000)
    set_at = spec.clock.begin_ns + 2_500_000_000
    cause = "the host's clock was set by -1.000 s"
    spec.events = [EventRecord(t_ns=set_at, kind="clock", cause=cause)]
    verdict = _judge(tmp_path, spec)
    (check,) = verdict.failures
    assert (check.name, check.limit, check.value) == ("clock", 10.0, -1000.0)
    assert check.note == "the host's clock was set by -1.000 s at 2.5 s"


@pytest.mark.parametrize("drift_ms", [-10, 0, 10])
def test_a_clock_within_the_limit_passes(tmp_path: Path, drift_ms: int) -> None:
    spec = good_spec()
    spec.clock = clock_record(spec.samples, drift_ns=drift_ms * 1_000_000)
    assert _judge(tmp_path, spec).outcome == "passed"


@pytest.mark.parametrize("missing", [True, False])
def test_a_clock_that_nobody_watched_bars_a_submission(
    tmp_path: Path, missing: bool
) -> None:
    spec = good_spec()
    spec.kind = "full"
    spec.log["effective_sample_concatenate_permutation"] = True
    folder = write_folder(tmp_path / "run", spec)
    settings = read_json(folder.settings, SettingsRecord)
    settings.is_benchmark = True
    folder.settings.write_bytes(msgspec.json.encode(settings))
    if missing:
        folder.clock.unlink()
    verdict = judge(folder)
    assert verdict.outcome == "passed"
    assert verdict.submission_candidate != missing
    skipped = [c.name for c in verdict.checks if c.outcome == "skipped"]
    assert skipped == (["clock"] if missing else [])


@pytest.mark.parametrize("unknown", ["hits", "tokens", ""])
def test_what_a_server_does_not_tell_bars_a_submission(
    tmp_path: Path, unknown: str
) -> None:
    spec = good_spec()
    spec.kind = "full"
    spec.log["effective_sample_concatenate_permutation"] = True
    if unknown == "hits":
        spec.samples[3].cached_tokens = None
    folder = write_folder(tmp_path / "run", spec)
    settings = read_json(folder.settings, SettingsRecord)
    settings.is_benchmark = True
    folder.settings.write_bytes(msgspec.json.encode(settings))
    tokens = "tokenizer" if unknown == "tokens" else "server"
    record = ReplicaRecord(
        replica=0,
        node="n",
        pid=1,
        devices=[],
        cpus=[],
        versions={},
        model={},
        engine={"token_ids": tokens},
        memory_bytes=None,
        load_s=0.0,
        compile_s=None,
        warmup_s=0.0,
        first_request_s=0.0,
        last_request_s=0.0,
    )
    folder.replicas.write_bytes(msgspec.json.encode([record]))
    verdict = judge(folder)
    assert verdict.outcome == "passed"
    assert verdict.submission_candidate == (not unknown)


def test_a_pause_degrades(tmp_path: Path) -> None:
    spec = good_spec()
    cause = "the coordinator did not run for 7.0 s"
    spec.events = [EventRecord(t_ns=START_NS, kind="pause", cause=cause)]
    verdict = _judge(tmp_path, spec)
    assert verdict.outcome == "passed"
    assert verdict.degraded


def _server_spec(rate: float, capacity: float, count: int = 400) -> FolderSpec:
    """Return a VALID Server run: each query takes 100 ms once it is begun."""
    spec = FolderSpec(scenario="server", streaming=True)
    for seq in range(count):
        issued = START_NS + int(seq / rate * 1e9)
        done = START_NS + int((seq / min(rate, capacity) + 0.1) * 1e9)
        spec.samples.append(
            sample(
                seq,
                seq % 2,
                issued_ns=issued,
                dispatched_ns=issued,
                first_token_ns=done - 90_000_000,
                completed_ns=done,
            )
        )
    spec.log = {
        "result_validity": "VALID",
        "result_query_count": count,
        "generated_samples_per_query": 1,
        "requested_use_token_latencies": True,
        "effective_sample_concatenate_permutation": True,
    }
    return spec


@pytest.mark.parametrize(
    ("rate", "kind", "word", "check", "outcome"),
    [
        (20.0, "smoke", "steady", "passed", "passed"),
        (50.0, "smoke", "growing", "failed", "failed"),
        # All arrive within one service latency.
        (9000.0, "smoke", "too_short", "skipped", "passed"),
        # LoadGen's word stands on a run of the length that the rules ask for.
        (50.0, "full", "growing", "skipped", "passed"),
        (9000.0, "full", "too_short", "skipped", "passed"),
    ],
)
def test_the_steady_state_of_a_server_run(
    tmp_path: Path, rate: float, kind: str, word: str, check: str, outcome: str
) -> None:
    spec = _server_spec(rate, 30.0 if rate < 100 else 1e9)
    spec.kind = kind
    verdict = _judge(tmp_path, spec)
    found = next(c for c in verdict.checks if c.name == "steady_state")
    assert (found.value, found.outcome, verdict.outcome) == (word, check, outcome)
    assert bool(found.note) == (word != "steady")


def test_offline_has_no_steady_state_to_judge(tmp_path: Path) -> None:
    verdict = _judge(tmp_path, good_spec())
    assert "steady_state" not in {check.name for check in verdict.checks}
