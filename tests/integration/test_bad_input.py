"""Mistakes of the user: exit 2 and one line."""

from pathlib import Path

import pytest

from tests.integration.command import SYNTHETIC, run

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["scenario.typo=1"], "scenario.typo: no such option"),
        (["mode="], "mode: '' is not one of"),
        (["--config"], "--config needs a file"),
        (["--config", "/none.yaml"], "/none.yaml: No such file"),
        (["model=llama3_1-8b"], "needs model.path=FOLDER"),
        (["dataset=cnn_dailymail"], "needs dataset.path=FILE"),
        (["cluster.gpus_per_replica=1"], "GPUs, this host has 0"),
        (["run.user_conf=/none"], "run.user_conf=/none: No such file"),
        (["run=full", *SYNTHETIC, "scenario.target_qps=5"], "needs the data set of"),
        (["run.dir=/proc/nowhere"], "No such file or directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_exit_2_and_one_line(tmp_path: Path, overrides: list[str], told: str) -> None:
    done = run(tmp_path, *overrides)
    assert done.code == 2
    lines = [x for x in done.err.splitlines() if not x.startswith("run folder")]
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    assert told in lines[0]
    assert done.out == ""


def test_bad_user_conf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    path.write_text("*.Offline.min_duration = soon\n")
    done = run(tmp_path / "runs", *SYNTHETIC, f"run.user_conf={path}")
    assert done.code == 2
    assert "LoadGen refuses it" in done.err


def test_full_refuses_a_user_conf_that_breaks_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    path.write_text("*.Server.min_duration = 120000\n")
    done = run(
        tmp_path / "runs",
        "experiment=harness",
        "run=full",
        "scenario=server",
        f"run.user_conf={path}",
    )
    assert done.code == 2
    assert "sets min_duration_ms to 120000, but the rules have 600000" in done.err


def test_help(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.code == 0
    assert "usage: python -m sut.main" in done.out
