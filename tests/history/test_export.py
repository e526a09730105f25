import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from history.export.__main__ import main
from record.folder import RunFolder, read_json, read_lines, write_json
from record.steps import STEP, header
from record.structs import SampleRecord, Verdict
from tests.run_folder import good_spec, sample, write_folder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    spec = good_spec()
    lost = sample(64, node=None, completed_ns=None, status="lost")
    lost.replica = None
    spec.samples.append(lost)
    folder = write_folder(tmp_path / "run", spec)
    steps = np.zeros(3, STEP)
    steps["start_ns"] = [1, 2, 3]
    steps["kv_blocks_free"] = -1
    folder.steps.write_bytes(header() + steps.tobytes())
    return folder


def test_parquet_has_every_field(folder: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([str(folder.path), "--parquet", str(out)]) == 0
    table = pq.read_table(out / "samples.parquet")
    records: list[SampleRecord] = list(read_lines(folder.samples, SampleRecord))
    assert table.to_pylist() == [msgspec.to_builtins(record) for record in records]
    assert str(table.schema.field("first_token_ns").type) == "int64"
    steps = pq.read_table(out / "steps.parquet")
    assert steps.column_names == list(STEP.names or ())
    assert steps["start_ns"].to_pylist() == [1, 2, 3]
    assert steps["kv_blocks_free"].to_pylist() == [-1, -1, -1]


def test_without_steps_there_are_samples(folder: RunFolder, tmp_path: Path) -> None:
    folder.steps.unlink()
    assert main([str(folder.path), "--parquet", str(tmp_path / "out")]) == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["samples.parquet"]


def test_junit_has_a_case_for_each_check(folder: RunFolder, tmp_path: Path) -> None:
    verdict = read_json(folder.verdict, Verdict)
    verdict.outcome, verdict.reason = "aborted", "a <cause>\x00 & more"
    write_json(folder.verdict, verdict)
    out = tmp_path / "junit.xml"
    assert main([str(folder.path), "--junit", str(out)]) == 0
    (suite,) = ElementTree.parse(out).getroot()
    names = [case.attrib["name"] for case in suite]
    assert names == [*(check.name for check in verdict.checks), "run_ended"]
    assert int(suite.attrib["tests"]) == len(names)
    assert int(suite.attrib["failures"]) == len(verdict.failures) > 0
    assert suite.attrib["errors"] == "1"
    (error,) = suite.iter("error")
    assert error.attrib["message"] == "a <cause>  & more"


def test_mlflow_gets_options_figures_and_report(
    folder: RunFolder, tmp_path: Path
) -> None:
    store = (tmp_path / "mlruns").as_uri()
    assert main([str(folder.path), "--mlflow", store]) == 0
    (outcome,) = (tmp_path / "mlruns").glob("*/*/tags/outcome")
    assert outcome.read_text() == "failed"
    params = outcome.parent.parent / "params"
    assert (params / "scenario.name").read_text() == "offline"
    assert (outcome.parent.parent / "artifacts" / "verdict.json").exists()


def test_an_address_that_mlflow_refuses_ends_in_one_line_without_its_password(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder.path), "--mlflow", "foo://user:secret@host/x"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --mlflow foo://***@host/x: ")
    assert "secret" not in line


def test_bad_input_is_refused(
    folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--junit", "x"]) == 2
    assert main([str(folder.path)]) == 2
    assert main([str(folder.path), "--junit", str(tmp_path / "a" / "b")]) == 2
    assert main([str(folder.path), "--parquet", "/proc/x"]) in (2, 3)
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 4


@pytest.mark.integration  # starts a process
def test_formats_are_imported_only_when_asked_for() -> None:
    code = (
        "import sys, history.export.__main__, history.__main__, watch.__main__;"
        "assert not {'pyarrow', 'mlflow', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
