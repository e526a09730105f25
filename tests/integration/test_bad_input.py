"""Mistakes of the user: exit 2 and one line."""

import hashlib
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.command import ROOT, SYNTHETIC, Command, run

pytestmark = pytest.mark.integration
EXTERNAL = ["cluster=external", "cluster.nodes=1"]


@pytest.mark.parametrize(
    ("overrides", "message"),
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
        (["run.dir=/proc/nowhere"], "run.dir=/proc/nowhere: No such file"),
        (["cluster.replicas=99999"], "must be at most 4096"),
        ([*SYNTHETIC, "run.min_queries=20000000000"], "must be at most 1000000000"),
        ([*SYNTHETIC, "run.min_queries=1000000000"], "GiB of memory"),
        ([*SYNTHETIC, "dataset.count=99999999999"], "must be at most 100000000"),
        (["engine=vllm_hopper"], "needs a Hopper GPU"),
        (
            ["engine.options.max_num_seqs=many"],
            "max_num_seqs=many: Input should be a v",
        ),
        (["engine.options.quantization=fp8x"], "did you mean fp8?"),
        (["--config="], "--config needs a file"),
        ([*EXTERNAL, "cluster.key=/none", "cluster.listen=foo"], "write HOST:PORT"),
        ([*EXTERNAL, "cluster.key=/none"], "/none: No such file"),
        (
            [*EXTERNAL, "cluster.key=/none", "dataset.vocabulary=llama3"],
            "is tokenized for the vocabulary llama3",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_exit_2_and_one_line(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    done = run(tmp_path, *overrides)
    assert done.code == 2
    progress = ("run folder: ", "writing SmolLM2's weights", "[")
    lines = [x for x in done.err.splitlines() if not x.startswith(progress)]
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert done.out == ""
    # What only a replica can find leaves a folder that says so.
    found = list(tmp_path.iterdir())
    assert not found or done.verdict.reason in lines[0]


def test_own_data_are_reported_as_what_they_are(tmp_path: Path) -> None:
    """The folder has letters that need quotes in a grammar, and the file a name."""
    path = tmp_path / "own, ü=1.json"
    path.write_text(json.dumps([{"tok_input": [5, 6], "output": "a"}] * 4))
    done = run(tmp_path / "a=b,c (1)", "engine=synthetic", f"dataset.path={path}")
    assert done.code == 0, done.err
    report = json.loads((done.folder / "report.json").read_text())["configuration"]
    found = {
        name: report[name]["value"]
        for name in ("model", "weights", "dataset", "dataset_path", "dataset_sha256")
    }
    assert found == {
        "model": "synthetic",
        "weights": "none",
        "dataset": "own, ü=1",
        "dataset_path": str(path),
        "dataset_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    again = run(tmp_path / "again", "--config", str(done.folder.config))
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "sut", "--version"], "mlcommons_loadgen 6.0.17"),
        (["-m", "qsl", "--help"], "python -m qsl.prepare"),
    ],
)
def test_packages_run_their_command(arguments: list[str], message: str) -> None:
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert message in done.stdout


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
        "scenario.target_qps=50",
        f"run.user_conf={path}",
    )
    assert done.code == 2
    assert "sets min_duration_ms to 120000, but the rules have 600000" in done.err


def test_a_full_disk_aborts(tmp_path: Path) -> None:
    """A run folder on a file system that fills up while the run goes on."""
    command = Command(tmp_path, *SYNTHETIC, "dataset.count=3000")
    command.wait_for(lambda: (command.folder / "replicas").exists(), "a replica")
    resource.prlimit(command.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    done = command.finish(60)
    assert done.code == 3, done.err
    assert "Traceback" not in done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("aborted: ")
    assert "File too large" in last


def test_a_reader_who_leaves_does_not_spoil_a_run(tmp_path: Path) -> None:
    line = f"{sys.executable} -m sut.main run.dir={tmp_path} {' '.join(SYNTHETIC)}"
    for tail in (">/dev/full", ">&-", "2>&-", "2>/dev/full"):
        done = subprocess.run(
            ["bash", "-c", f"{line} {tail}"], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == 0, (tail, done.stderr)


def test_bad_input_leaves_the_link_to_the_newest_run(tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir()
    (tmp_path / "latest").symlink_to("older")
    done = run(tmp_path, *SYNTHETIC, "cluster.gpus_per_replica=1")
    assert done.code == 2, done.err
    assert sorted(tmp_path.iterdir()) == [tmp_path / "latest", older]
    assert done.folder.path == older


def test_help(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.code == 0
    assert "usage: mlperf-sut run" in done.out
