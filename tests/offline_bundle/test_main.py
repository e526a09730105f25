from pathlib import Path

import pytest

from offline_bundle.__main__ import main, part_size


def test_sizes() -> None:
    assert part_size("60M") == 60 << 20
    assert part_size("2G") == 2 << 30


@pytest.mark.parametrize("size", ["0M", "60", "60MB", "-1G"])
def test_bad_sizes_exit_2(
    size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "out"), f"--part-size={size}"]) == 2
    assert "argument --part-size: invalid" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--host-has", "gone.txt"], "gone.txt cannot be read"),
        (["--leave-out", "gone.txt"], "gone.txt cannot be read"),
        (["--with", "gone.json"], "--with gone.json: there is no such file"),
        (["--lock", "empty.lock"], "empty.lock pins no torch"),
        (["--python", "3"], "--python 3 is not a version"),
        (["--kernels", "gone"], "--kernels gone: there are no compiled kernels"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    # Everything is checked before gigabytes are fetched.
    monkeypatch.setattr("offline_bundle.__main__.fetch", None)
    Path("empty.lock").touch()
    assert main(["out", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert line in said
    assert said.count("\n") == 1
    assert not Path("out").exists()


def test_nothing_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main([str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
