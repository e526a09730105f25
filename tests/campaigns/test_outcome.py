"""What a failed run says about other rates."""

from pathlib import Path

import pytest

from campaigns.outcome import fewest_queries, outcome
from record.folder import write_json
from scenarios.gate import aborted
from tests.run_folder import FolderSpec, good_spec, sample, write_folder

NEEDED = 459
"""LoadGen's own figure: it said of 150 good queries that it needs 309 more."""


def _spec(queries: int, *, in_time: bool, valid: bool = False) -> FolderSpec:
    spec = good_spec(queries)
    spec.log |= {
        "result_validity": "VALID" if valid else "INVALID",
        "result_perf_constraints_met": in_time,
        "result_query_count": queries,
        "generated_samples_per_query": 1,
        "effective_target_latency_percentile": 0.99,
    }
    return spec


def test_a_run_that_passed(tmp_path: Path) -> None:
    spec = _spec(NEEDED, in_time=True, valid=True)
    ended = outcome(write_folder(tmp_path / "run", spec).path)
    assert ended.passed
    assert not ended.in_vain


@pytest.mark.parametrize(
    ("queries", "in_time"),
    [
        (NEEDED - 1, False),
        # In time, but for too many queries to be sure: a lower rate has fewer.
        (NEEDED, True),
    ],
)
def test_a_slow_run_may_pass_at_a_lower_rate(
    tmp_path: Path, queries: int, in_time: bool
) -> None:
    folder = write_folder(tmp_path / "run", _spec(queries, in_time=in_time))
    ended = outcome(folder.path)
    assert not ended.passed
    assert not ended.in_vain


def test_too_few_queries_fail_at_every_rate(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", _spec(NEEDED - 1, in_time=True))
    assert "458 queries are too few" in outcome(folder.path).in_vain
    assert f"needs {NEEDED}" in outcome(folder.path).in_vain


def test_queries_counted_by_time_may_be_enough_at_a_higher_rate(
    tmp_path: Path,
) -> None:
    spec = _spec(NEEDED - 1, in_time=True)
    spec.log["effective_min_duration_ms"] = 60_000
    told = outcome(write_folder(tmp_path / "run", spec).path).in_vain
    assert "higher scenario.target_qps" in told
    assert "samples=" not in told


def test_other_faults_are_not_laid_on_the_rate(tmp_path: Path) -> None:
    spec = _spec(NEEDED, in_time=False)
    spec.samples[3] = sample(3, status="lost", completed_ns=None, output_tokens=0)
    folder = write_folder(tmp_path / "run", spec)
    assert "samples_lost" in outcome(folder.path).in_vain


def test_an_aborted_run_ends_the_search(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", _spec(NEEDED, in_time=False))
    write_json(folder.verdict, aborted(folder, "no replica is left"))
    assert outcome(folder.path).in_vain == "no replica is left"
    folder.verdict.unlink()
    assert "verdict.json" in outcome(folder.path).in_vain


@pytest.mark.parametrize(
    ("percentile", "needed"), [(0.99, NEEDED), (0.9, 44), (0.0, 0), (1.0, 0)]
)
def test_fewest_queries(percentile: float, needed: int) -> None:
    assert fewest_queries(percentile) == needed
