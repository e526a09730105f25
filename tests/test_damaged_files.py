"""Every command ends well, whatever a file of a run or a campaign has become."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

import accuracy.__main__ as accuracy
import forecast.__main__ as forecast
import history.__main__ as history
import history.export.__main__ as export
import report.__main__ as report
import report.compare.__main__ as compare
import watch.__main__ as watch
from base.errors import ExitCode
from campaigns.corun import __main__ as corun
from campaigns.qualify import __main__ as qualify
from campaigns.search import __main__ as search
from campaigns.sweep import __main__ as sweep
from campaigns.tune import __main__ as tune
from record.folder import RunFolder, write_json
from record.steps import STEP, header
from record.structs import ClockRecord
from tests.fuzz.state_targets import (
    A_CAMPAIGN,
    A_CORUN,
    A_FORECAST,
    A_QUALIFICATION,
    A_STATUS,
    A_SWEEP,
    A_TUNE,
)
from tests.run_folder import good_spec, write_folder

pytestmark = pytest.mark.integration
Command = Callable[[Path], int]


def _truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _become(content: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(content)

    return damage


DAMAGE: dict[str, Callable[[Path], None]] = {
    "truncated": _truncate,
    "empty": _become(b""),
    "a list": _become(b"[]\n"),
    "a mapping": _become(b"{}\n"),
    "nested": _become(b"[" * 5000 + b"]" * 5000 + b"\n"),
    "a mapping, nested": _become(b'{"state":' * 5000 + b"1" + b"}" * 5000 + b"\n"),
    "NUL bytes": _become(b"\0" * 1000),
    "NUL bytes and a newline": _become(b"\0" * 1000 + b"\n"),
    "no UTF-8": _become(b"\xff\xfe\n" * 20),
    "a folder": _become_folder,
}
IN_CI = ("truncated", "a mapping, nested")
"""Every command for every file of a run takes most of a minute."""
OF_RUNS: dict[str, Command] = {
    "report": lambda run: report.main([str(run)]),
    "report compare": lambda run: compare.main(
        [str(run), str(run.parent / "other"), "--out", str(run.parent / "compared")]
    ),
    "accuracy": lambda run: accuracy.main([str(run)]),
    "forecast": lambda run: forecast.main([str(run)]),
    "runs list": lambda run: history.main(["list", str(run.parent)]),
    "runs index": lambda run: history.main(["index", str(run.parent)]),
    "runs archive": lambda run: history.main(
        ["archive", str(run.parent), str(run.parent / "all.tar.gz")]
    ),
    "export parquet": lambda run: export.main(
        [str(run), "--parquet", str(run.parent / "parquet")]
    ),
    "export junit": lambda run: export.main(
        [str(run), "--junit", str(run.parent / "junit.xml")]
    ),
    "watch": lambda run: watch.main([str(run), "--terminal"]),
}
SYNTHETIC = ("engine=synthetic", "dataset=synthetic")
OF_CAMPAIGNS: dict[str, dict[str, Command]] = {
    "campaign.json": {
        "report": lambda root: report.main([str(root)]),
        "search": lambda root: search.main(
            [f"run.dir={root}", "scenario=server", *SYNTHETIC]
        ),
        "runs list": lambda root: history.main(["list", str(root.parent)]),
        "watch": lambda root: watch.main([str(root), "--terminal"]),
    },
    "qualify.json": {
        "qualify": lambda root: qualify.main([f"run.dir={root}", *SYNTHETIC]),
    },
    "sweep.json": {
        "sweep": lambda root: sweep.main(
            [f"run.dir={root}", "engine.max_num_seqs=4,8", *SYNTHETIC]
        ),
    },
    "corun.json": {
        "corun": lambda root: corun.main(
            [f"run.dir={root}", *SYNTHETIC, "a:", "scenario=offline", "b:"]
        ),
    },
    "tune.json": {
        "tune": lambda root: tune.main(
            [f"run.dir={root}", *SYNTHETIC, "max_num_seqs=4,8"]
        ),
    },
}
"""With other options than those in the file, so that none makes a run."""


@pytest.fixture(autouse=True)
def _nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(*_arguments: object) -> None:
        raise AssertionError("the command waits for a run that is dead")

    monkeypatch.setattr("watch.__main__._wait", wait)


def make_run(path: Path) -> RunFolder:
    spec = good_spec(6)
    spec.answers = [(n, [1, 2, n], [1]) for n in range(6)]
    run = write_folder(path, spec)
    steps = np.zeros(5, STEP)
    steps["start_ns"] = np.arange(5) * 1000
    run.steps.write_bytes(header() + steps.tobytes())
    write_json(run.status, msgspec.structs.replace(A_STATUS, state="finished"))
    run.forecast.write_bytes(A_FORECAST)
    run.source.write_bytes(b'{"sut/main.py":"0a"}')
    write_json(
        run.clock,
        ClockRecord(epoch_ns=0, begin_ns=1, end_ns=2**62, largest_drift_ns=0),
    )
    (run / "accuracy.json").write_bytes(b"{}\n")
    return run


def _files(run: RunFolder) -> Iterator[Path]:
    return (path for path in sorted(run.path.iterdir()) if path.is_file())


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(name, marks=() if name in IN_CI else pytest.mark.acceptance)
        for name in DAMAGE
    ],
)
def test_files_of_a_run(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = make_run(tmp_path / "whole")
    make_run(tmp_path / "runs" / "other")
    run = tmp_path / "runs" / "run"
    for file in _files(whole):
        for name, command in OF_RUNS.items():
            shutil.copytree(whole.path, run)
            DAMAGE[damage](run / file.name)
            _ends_well(name, lambda: command(run), f"{file.name}: {damage}", capsys)  # noqa: B023
            shutil.rmtree(run)


@pytest.mark.parametrize("damage", DAMAGE)
def test_files_of_a_campaign(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file, commands in OF_CAMPAIGNS.items():
        for name, command in commands.items():
            root = tmp_path / "root"
            root.mkdir()
            write_json(root / file, RECORDS[file])
            DAMAGE[damage](root / file)
            code = _ends_well(name, lambda: command(root), f"{file}: {damage}", capsys)  # noqa: B023
            assert code == ExitCode.BAD_INPUT or name in ("runs list", "watch")
            shutil.rmtree(root)


RECORDS = {
    "campaign.json": A_CAMPAIGN,
    "qualify.json": A_QUALIFICATION,
    "sweep.json": A_SWEEP,
    "corun.json": A_CORUN,
    "tune.json": A_TUNE,
}


def _ends_well(
    name: str,
    command: Callable[[], int],
    what: str,
    capsys: pytest.CaptureFixture[str],
) -> int:
    """Check that a command ends with one line where it refuses; return its code."""
    try:
        code = command()
    except BaseException as error:
        raise AssertionError(f"{name}, {what}: {error!r}") from error
    err = capsys.readouterr().err
    assert code in (0, 1, 2), f"{name}, {what}: exit {code}: {err}"
    if code == ExitCode.BAD_INPUT:
        last = err.splitlines()[-1]
        assert last.startswith("error: "), f"{name}, {what}: {err}"
    return code
