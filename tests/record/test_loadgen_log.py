from pathlib import Path

import pytest

from record.folder import RecordError
from record.loadgen_log import read_answers, read_detail
from tests.run_folder import FolderSpec, good_spec, write_folder


def test_detail_log(tmp_path: Path) -> None:
    spec = good_spec(4)
    spec.errors = ["Attempted to complete a sample twice."]
    spec.warnings = ["Found Audit Config file"]
    log = read_detail(write_folder(tmp_path / "run", spec).detail_log)
    assert log.values["result_validity"] == "VALID"
    assert log.errors == spec.errors
    assert log.warnings == spec.warnings


def test_a_mean_over_nothing_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "mlperf_log_detail.txt"
    path.write_text(':::MLLOG {"key": "k", "value": -nan, "metadata": {}}\n')
    assert read_detail(path).values == {"k": None}


@pytest.mark.parametrize("line", ["{nonsense", "5", '{"key": "k"}'])
def test_damaged_detail_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "mlperf_log_detail.txt"
    path.write_text(f"hello\n:::MLLOG {line}\n")
    with pytest.raises(RecordError, match=r"detail\.txt:2: not a LoadGen line"):
        read_detail(path)


def test_answers(tmp_path: Path) -> None:
    spec = FolderSpec(answers=[(7, [1, 2, 300], [1]), (3, [5], None)])
    answers = read_answers(write_folder(tmp_path / "run", spec).accuracy_log)
    assert [a.qsl_index for a in answers] == [7, 3]
    assert answers[0].tokens.tolist() == [1, 2, 300]
    assert answers[0].first is not None
    assert answers[0].first.tolist() == [1]
    assert answers[1].first is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[\n{ "seq_id" : 0, "qsl_idx" : 1, "data" : "0102" }\n]', "damaged tokens"),
        ('[\n{ "seq_id" : 0, "qsl_idx" : 1, "data" : "01020304', "not a record"),
        ("[\nhello\n]", "not a record"),
    ],
)
def test_damaged_answers_are_named(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "mlperf_log_accuracy.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=rf"accuracy\.json:2: {expected}"):
        read_answers(path)


def test_log_that_was_cut_off_gives_its_records(tmp_path: Path) -> None:
    path = tmp_path / "mlperf_log_accuracy.json"
    path.write_text('[\n{ "seq_id" : 0, "qsl_idx" : 1, "data" : "01000000" },\n')
    assert len(read_answers(path)) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("result_99.00_percentile_latency_ns", "true"),
        ("result_completed_samples_per_sec", '"fast"'),
        ("result_completed_tokens_per_second", "[]"),
        ("result_query_count", "true"),
        ("result_query_count", "-1"),
        ("effective_schedule_rng_seed", "9" * 400),
    ],
)
def test_what_cannot_be_calculated_with_is_named(
    tmp_path: Path, key: str, value: str
) -> None:
    path = tmp_path / "mlperf_log_detail.txt"
    path.write_text(
        f':::MLLOG {{"key": "{key}", "value": {value}, "metadata": {{}}}}\n'
    )
    with pytest.raises(RecordError, match=rf"detail\.txt:1: .*{key} is not a"):
        read_detail(path)


@pytest.mark.parametrize("value", ["-nan", "null"])
def test_a_figure_that_loadgen_did_not_have(tmp_path: Path, value: str) -> None:
    path = tmp_path / "mlperf_log_detail.txt"
    key = "result_completed_samples_per_sec"
    path.write_text(
        f':::MLLOG {{"key": "{key}", "value": {value}, "metadata": {{}}}}\n'
    )
    assert read_detail(path).number(key) is None
