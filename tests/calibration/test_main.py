"""Mistakes of the user: exit 2 and one line, and nothing is left behind."""

import importlib.util
from pathlib import Path

import pytest

from calibration.__main__ import main
from qsl.tokenizer import load_encoder
from tests.calibration.made_up import write_calibration, write_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model")


@pytest.fixture
def file(tmp_path: Path, checkpoint: Path) -> Path:
    return write_calibration(tmp_path / "list.json", load_encoder(checkpoint), 3)


def test_exit_2_and_one_line(
    tmp_path: Path,
    checkpoint: Path,
    file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    cases = [
        ((tmp_path / "none", file, out), "none: no such folder"),
        ((checkpoint, tmp_path / "none.json", out), "none.json: No such file"),
        ((checkpoint, file, checkpoint), "model: exists; name a new folder"),
        ((checkpoint, file, tmp_path / "no" / "out"), "no: no such folder"),
        ((checkpoint, file, out, "--samples", 9), "--samples 9: "),
        ((checkpoint, checkpoint / "config.json", out), "not in cnn_eval.json format"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in cases:
        assert main([str(argument) for argument in arguments]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
        assert message in said.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.integration
def test_a_checkpoint_without_a_tokenizer_is_refused(
    tmp_path: Path, checkpoint: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "tokenizer.json").unlink()
    assert main([str(checkpoint), str(file), str(tmp_path / "out")]) == 2
    assert "no readable tokenizer.json" in capsys.readouterr().err


@pytest.mark.integration
@pytest.mark.skipif(
    importlib.util.find_spec("llmcompressor") is not None,
    reason="llm-compressor is installed here",
)
def test_the_environment_is_named_where_it_is_not_used(
    tmp_path: Path, checkpoint: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(checkpoint), str(file), str(tmp_path / "out")]) == 2
    assert "llmcompressor is missing: `make calibration-env`" in capsys.readouterr().err
