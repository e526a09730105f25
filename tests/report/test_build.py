import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from record.folder import RecordError, RunFolder
from report.build import write_report
from report.content import KEYS
from report.statistics.numbers import bits
from tests.calls import calls_of
from tests.report.reading import codes, report_of, rows
from tests.report.schema import SCHEMA
from tests.run_folder import (
    START_NS,
    good_spec,
    write_folder,
)

ROOT = Path(__file__).resolve().parents[2]


def test_every_figure_has_value_unit_and_definition(tmp_path: Path) -> None:
    report = report_of(write_folder(tmp_path / "run", good_spec()))
    assert tuple(report) == KEYS
    jsonschema.validate(report, SCHEMA)
    for key in KEYS:
        if not isinstance(report[key], dict):
            continue
        for name, item in report[key].items():
            if "columns" in item:
                assert all(len(r) == len(item["columns"]) for r in item["rows"]), name
            else:
                assert item["definition"], name


@pytest.mark.integration
def test_the_schema_refuses_what_is_not_a_report(tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    good = report_of(write_folder(tmp_path / "run", good_spec()))
    without_unit = json.loads(json.dumps(good))
    del without_unit["scaling"]["tokens_per_s"]["unit"]
    without_key = {k: v for k, v in good.items() if k != "validity"}
    odd_word = json.loads(json.dumps(good))
    odd_word["findings"] = [
        {"code": "a", "severity": "bad", "title": "b", "evidence": "c", "cause": "d"}
    ]
    for broken in (without_unit, without_key, odd_word):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)


def test_throughput_is_completed_work_over_wall_time(tmp_path: Path) -> None:
    scaling = report_of(write_folder(tmp_path / "run", good_spec(64)))["scaling"]
    wall_s = 63 * 0.05 + 0.1
    assert scaling["samples_per_s"]["value"] == pytest.approx(64 / wall_s, rel=1e-3)
    assert scaling["tokens_per_s"]["value"] == pytest.approx(
        64 * 128 / wall_s, rel=1e-3
    )
    assert scaling["efficiency"]["value"] is None


@pytest.mark.integration
def test_the_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    html = write_report(folder).read_text()
    # The page's only script is tested in rendering/test_interactive.py.
    outside = html.replace("http://www.w3.org/", "").partition("<script>")[0]
    assert "http://" not in outside
    assert "https://" not in outside
    plots = sorted((folder / "report/plots").iterdir())
    assert {p.suffix for p in plots} == {".svg", ".png"}
    assert html.count("<svg") == len(plots) / 2 >= 5
    for plot in plots:
        if plot.suffix == ".svg":
            ET.fromstring(plot.read_text())
        else:
            assert plot.read_bytes().startswith(b"\x89PNG")
    report = json.loads((folder / "report.json").read_text())
    for key in KEYS:
        for name, item in report[key].items() if isinstance(report[key], dict) else ():
            if "columns" in item:
                table = (folder / f"report/tables/{key}.{name}.csv").read_text()
                assert table.count("\n") == len(item["rows"]) + 1, name
    markdown = (folder / "report.md").read_text()
    for plot in (folder / "report/plots").glob("*.png"):
        assert f"(report/plots/{plot.name})" in markdown
    # A second time must give the same files: the report is a function of the folder.
    before = {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}
    write_report(folder)
    assert {p: p.read_bytes() for p in before} == before


def test_an_empty_run_still_has_a_report(tmp_path: Path) -> None:
    spec = good_spec(2)
    spec.samples = []
    folder = write_folder(tmp_path / "run", spec)
    assert report_of(folder)["tokens"]["output_tokens"]["value"] == 0
    assert write_report(folder).exists()


@pytest.mark.integration
def test_a_run_of_one_replica(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec(64, replicas=1))
    report = report_of(folder)
    assert rows(report["symmetry"]["summary"]) == []
    assert [c for c in codes(report) if c.startswith("slow")] == []
    assert write_report(folder).exists()


@pytest.mark.parametrize("name", ["telemetry.jsonl", "events.jsonl"])
def test_what_is_missing_becomes_a_note(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    (folder / name).unlink()
    note = next(f for f in report_of(folder)["findings"] if f["code"] == "data")
    assert name in note["evidence"]


def test_what_was_switched_off_is_no_finding(tmp_path: Path) -> None:
    report = report_of(write_folder(tmp_path / "run", good_spec()))
    assert report["findings"] == []
    assert "trace is off" in report["validity"]["notes"]["value"]


@pytest.mark.parametrize("name", ["samples", "events", "telemetry"])
def test_a_last_line_cut_off_becomes_a_note(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    path = folder / f"{name}.jsonl"
    path.write_bytes(path.read_bytes() + b'{"seq":1,"q')
    note = next(f for f in report_of(folder)["findings"] if f["code"] == "data")
    assert f"{name}.jsonl was cut off" in note["evidence"]


@pytest.mark.integration
@pytest.mark.parametrize(
    "keep", [["config.yaml"], ["config.yaml", "settings.json", "samples.jsonl"]]
)
def test_an_aborted_run_has_a_report_with_a_note(
    tmp_path: Path, keep: list[str]
) -> None:
    whole = write_folder(tmp_path / "run", good_spec())
    folder = tmp_path / "aborted"
    folder.mkdir()
    for name in keep:
        shutil.copy(whole / name, folder / name)
    # Without replicas.json samples belong to nobody, so none may be left.
    if "samples.jsonl" in keep:
        shutil.copy(whole / "replicas.json", folder / "replicas.json")
    report = report_of(folder)
    assert report["findings"][0]["code"] == "aborted"
    note = next(f for f in report["findings"] if f["code"] == "data")
    assert "verdict.json is missing" in note["evidence"]
    assert write_report(RunFolder(folder)).exists()


def test_samples_without_their_replicas_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    for name in ("replicas.json", "verdict.json"):
        (folder / name).unlink()
    with pytest.raises(RecordError, match=r"samples.jsonl:1: .*which is missing"):
        report_of(folder)


def test_a_damaged_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such run folder"):
        write_report(RunFolder(tmp_path / "none"))
    with pytest.raises(RecordError, match=r"not a run folder: it has no config\.yaml"):
        write_report(RunFolder(tmp_path))
    folder = write_folder(tmp_path / "run", good_spec())
    whole = folder.config.read_bytes()
    for config in (b"a: 1", b"\xe9", whole[: len(whole) // 3], b"{"):
        folder.config.write_bytes(config)
        with pytest.raises(RecordError, match=r"config\.yaml"):
            write_report(folder)
    folder.config.write_bytes(whole)
    folder.replicas.write_text("[{}]")
    with pytest.raises(RecordError, match=r"replicas\.json"):
        write_report(folder)


def test_few_calls_are_made_for_each_sample(tmp_path: Path) -> None:
    calls = {}
    for count in (500, 2500):
        folder = write_folder(tmp_path / str(count), good_spec(count, replicas=16))
        calls[count] = calls_of(lambda folder=folder: report_of(folder))  # type: ignore[misc]
    assert calls[2500] - calls[500] < 20 * 2000


def test_masks_of_bits_of_any_driver_are_whole_numbers() -> None:
    # Drivers that know no reasons say NaN; a mask of 64 set bits is one too.
    values = np.array([np.nan, 4.0, -1.0, 2.0**64, np.inf])
    assert bits(values).tolist() == [0, 4, 0, 0, 0]


@pytest.mark.parametrize("seconds", [0.2, 5.0])
def test_one_query_in_a_block_of_time_gives_no_warning(
    tmp_path: Path, seconds: float
) -> None:
    """Warnings are errors in tests: some blocks of time have no completion."""
    spec = good_spec(60, 1)
    spec.scenario, spec.streaming = "singlestream", True
    for one in spec.samples:
        long = seconds if one.seq == 30 else 0.1
        begin = START_NS + int((one.seq + (seconds * 10 if one.seq > 30 else 0)) * 1e8)
        one.issued_ns = one.dispatched_ns = begin
        one.first_token_ns = begin + 10_000_000
        one.completed_ns = begin + int(long * 1e9)
    report = report_of(write_folder(tmp_path / "run", spec))
    assert rows(report["scaling"]["sizes"])
