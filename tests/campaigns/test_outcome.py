"""What one run shows about its rate."""

from pathlib import Path

import pytest

from campaigns.outcome import fewest_queries, read_trial
from record.folder import write_json
from scenarios.gate import aborted
from tests.run_folder import START_NS, FolderSpec, sample, write_folder

NEEDED = 459
"""LoadGen's own figure: it said of 150 good queries that it needs 309 more."""


def _spec(
    queries: int, *, in_time: bool, valid: bool = False, kind: str = "smoke"
) -> FolderSpec:
    """Return a Server run: 10 queries/s, each takes 100 ms."""
    spec = FolderSpec(scenario="server", streaming=True, kind=kind)
    for seq in range(queries):
        issued = START_NS + seq * 100_000_000
        spec.samples.append(
            sample(
                seq,
                seq % 2,
                issued_ns=issued,
                dispatched_ns=issued,
                first_token_ns=issued + 10_000_000,
                completed_ns=issued + 100_000_000,
            )
        )
    spec.log = {
        "result_validity": "VALID" if valid else "INVALID",
        "result_perf_constraints_met": in_time,
        "result_query_count": queries,
        "generated_samples_per_query": 1,
        "requested_use_token_latencies": True,
        "effective_sample_concatenate_permutation": True,
    }
    return spec


def test_a_run_that_passed(tmp_path: Path) -> None:
    spec = _spec(NEEDED, in_time=True, valid=True)
    trial = read_trial(write_folder(tmp_path / "run", spec).path)
    assert trial.sustained
    assert not trial.stop_reason
    assert trial.percentile == 0.99
    assert trial.steady.rate_per_s == pytest.approx(10)


def test_a_slow_run_may_pass_at_a_lower_rate(tmp_path: Path) -> None:
    spec = _spec(NEEDED, in_time=False)
    trial = read_trial(write_folder(tmp_path / "run", spec).path)
    assert not trial.within_limits
    assert not trial.too_short
    assert not trial.stop_reason


def test_too_few_queries_show_nothing(tmp_path: Path) -> None:
    spec = _spec(NEEDED - 1, in_time=True)
    trial = read_trial(write_folder(tmp_path / "run", spec).path)
    assert trial.too_short
    assert not trial.sustained
    assert not trial.stop_reason


def test_a_full_run_cannot_have_more_queries(tmp_path: Path) -> None:
    spec = _spec(NEEDED - 1, in_time=True, kind="full")
    trial = read_trial(write_folder(tmp_path / "run", spec).path)
    assert trial.stop_reason


def test_a_full_valid_run_is_never_too_short(tmp_path: Path) -> None:
    spec = _spec(40, in_time=True, valid=True, kind="full")
    for one in spec.samples:
        one.completed_ns = one.issued_ns + 3_000_000_000
    trial = read_trial(write_folder(tmp_path / "full", spec).path)
    assert trial.steady.word == "too_short"
    assert trial.sustained
    spec.kind = "smoke"
    trial = read_trial(write_folder(tmp_path / "smoke", spec).path)
    assert not trial.sustained


def test_a_growing_queue_is_not_sustained_though_the_limits_were_kept(
    tmp_path: Path,
) -> None:
    spec = _spec(600, in_time=True, valid=True)
    for one in spec.samples:
        # 5 a second are completed where 10 arrive.
        assert one.completed_ns is not None
        one.completed_ns += one.seq * 100_000_000
    trial = read_trial(write_folder(tmp_path / "run", spec).path)
    assert trial.within_limits
    assert not trial.stop_reason
    assert not trial.sustained


def test_other_faults_are_not_laid_on_the_rate(tmp_path: Path) -> None:
    spec = _spec(NEEDED, in_time=False)
    spec.samples[3] = sample(3, status="lost", completed_ns=None, output_tokens=0)
    folder = write_folder(tmp_path / "run", spec)
    assert "samples_lost" in read_trial(folder.path).stop_reason


def test_an_aborted_run_ends_the_search(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", _spec(NEEDED, in_time=False))
    write_json(folder.verdict, aborted(folder, "no replica is left"))
    assert read_trial(folder.path).stop_reason == "no replica is left"
    folder.verdict.unlink()
    assert "verdict.json" in read_trial(folder.path).stop_reason


@pytest.mark.parametrize(
    ("percentile", "needed"), [(0.99, NEEDED), (0.9, 44), (0.0, 0), (1.0, 0)]
)
def test_fewest_queries(percentile: float, needed: int) -> None:
    assert fewest_queries(percentile) == needed
