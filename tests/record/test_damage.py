"""Files of a run folder that others have damaged end in RecordError alone."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from record.folder import RecordError, RunFolder, read_json, read_lines, write_json
from record.loadgen_log import read_answers, read_detail, read_trace
from record.structs import EventRecord, ReplicaRecord, SettingsRecord, Verdict
from report.reading.config import read_config
from report.reading.samples import read_samples
from report.reading.telemetry import read_telemetry
from scenarios.gate import judge
from tests.run_folder import good_spec, write_folder

NESTED = "[" * 3000 + "]" * 3000
HUGE = "9" * 30
READERS: dict[str, Callable[[Path], Any]] = {
    "verdict.json": lambda path: read_json(path, Verdict),
    "settings.json": lambda path: read_json(path, SettingsRecord),
    "replicas.json": lambda path: read_json(path, list[ReplicaRecord]),
    "events.jsonl": lambda path: list(read_lines(path, EventRecord)),
    "samples.jsonl": read_samples,
    "telemetry.jsonl": read_telemetry,
    "config.yaml": read_config,
    "mlperf_log_detail.txt": read_detail,
    "mlperf_log_accuracy.json": read_answers,
    "mlperf_log_trace.json": read_trace,
}


@pytest.mark.parametrize(
    "name", sorted(READERS.keys() - {"mlperf_log_trace.json", "mlperf_log_detail.txt"})
)
def test_deep_nesting(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(f'{{"seq": {NESTED}}}\n')
    with pytest.raises(RecordError, match=name):
        READERS[name](path)


def test_deep_nesting_in_the_detail_log(tmp_path: Path) -> None:
    path = tmp_path / "mlperf_log_detail.txt"
    path.write_text(f':::MLLOG {{"key": "k", "value": {NESTED}, "metadata": {{}}}}\n')
    with pytest.raises(RecordError, match=r"detail\.txt:1: .*nested too deeply"):
        read_detail(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("result_query_count", '"many"'),
        ("result_query_count", "-1"),
        ("result_query_count", HUGE),
        ("effective_accuracy_sample_count", "[1]"),
        ("generated_samples_per_query", "null"),
        ("result_scheduled_samples_per_sec", '"fast"'),
    ],
)
def test_figures_of_the_detail_log_are_numbers(
    tmp_path: Path, key: str, value: str
) -> None:
    path = tmp_path / "mlperf_log_detail.txt"
    path.write_text(
        f':::MLLOG {{"key": "{key}", "value": {value}, "metadata": {{}}}}\n'
    )
    with pytest.raises(RecordError, match=rf"detail\.txt:1: .*{key} is no"):
        read_detail(path)


@pytest.mark.parametrize("number", [HUGE, "9223372036854775808"])
@pytest.mark.parametrize("name", ["samples.jsonl", "telemetry.jsonl"])
def test_numbers_beyond_64_bits(tmp_path: Path, name: str, number: str) -> None:
    folder = write_folder(tmp_path / "run", good_spec(4))
    path = folder / name
    field = "t_ns" if name == "telemetry.jsonl" else "completed_ns"
    text, count = re.subn(rf'("{field}": ?)\d+', rf"\g<1>{number}", path.read_text())
    assert count
    path.write_text(text)
    with pytest.raises(RecordError, match=rf"{name}:1: "):
        READERS[name](path)


@pytest.mark.parametrize("number", [HUGE, "9" * 5000])
def test_numbers_beyond_64_bits_in_the_trace(tmp_path: Path, number: str) -> None:
    path = tmp_path / "mlperf_log_trace.json"
    path.write_text(
        '{"name":"Sample","ph":"b","ts":1.5,"args":{"sample_seq":0,"sample_idx":0,'
        f'"issue_start_ns":{number},"complete_ns":5}}}},\n'
    )
    with pytest.raises(RecordError, match=r"trace\.json: a number"):
        read_trace(path)


def test_numbers_beyond_64_bits_in_the_accuracy_log(tmp_path: Path) -> None:
    path = tmp_path / "mlperf_log_accuracy.json"
    path.write_text(
        f'[\n{{ "seq_id" : 1, "qsl_idx" : {"9" * 5000}, "data" : "01000000" }}\n]\n'
    )
    with pytest.raises(RecordError, match=r"accuracy\.json:2: "):
        read_answers(path)


def _spoil_settings(folder: RunFolder, **changes: Any) -> None:
    settings = read_json(folder.settings, dict[str, Any])
    write_json(folder.settings, settings | changes)


@pytest.mark.parametrize("mode", ["performance", "accuracy"])
def test_settings_whose_rules_lack_a_value(tmp_path: Path, mode: str) -> None:
    spec = good_spec(4)
    spec.mode = mode
    folder = write_folder(tmp_path / "run", spec)
    _spoil_settings(folder, rules={})
    with pytest.raises(RecordError, match=r"settings\.json: no value for \w+ in its"):
        judge(folder)


def test_settings_of_an_unknown_mode(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec(4))
    _spoil_settings(folder, mode="haste")
    with pytest.raises(RecordError, match="'haste' is no mode"):
        judge(folder)
