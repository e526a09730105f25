from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from record.folder import read_json
from record.structs import EventRecord, SettingsRecord, Verdict
from scenarios.gate import aborted, judge
from tests.run_folder import START_NS, STOP, FolderSpec, good_spec, sample, write_folder

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


@pytest.mark.parametrize(
    ("log", "told"),
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
    tmp_path: Path, log: dict[str, object], told: str
) -> None:
    spec = good_spec()
    spec.log |= {"result_validity": "INVALID", **log}
    verdict = judge(write_folder(tmp_path / "run", spec))
    assert told in verdict.reason
