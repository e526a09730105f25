"""The script for Slurm, with a stand-in for srun and under a real Slurm."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from record.folder import RunFolder, read_json, read_lines
from record.structs import EventRecord, ReplicaRecord, SampleRecord, Verdict
from tests.external_nodes import free_port
from tests.integration.command import FAST
from tests.slurm_cluster import SlurmCluster, missing

PYXIS = """#!/bin/sh
# Takes the options of a step in a container, and runs its command without one.
options=
while case $1 in --*) ;; *) false ;; esac; do options="$options $1"; shift; done
echo "$options $3" >> "$SRUN_LOG"
case $options in *--overlap*) exec "$@" ;; esac
trap 'kill $one $two' TERM
"$@" --name host1 & one=$!
"$@" --name host2 & two=$!
wait $one $two
wait $one $two
"""
ROOT = Path(__file__).resolve().parents[1]
SRUN = """#!/bin/sh
# Two hosts: each gets what srun would start there; a signal ends both.
trap 'kill $one $two' TERM
[ "$*" = "${*#--cpus-per-task=2 --no-kill --kill-on-bad-exit=0 --wait=0 }" ] && exit 9
shift 4
"$@" --name host1 & one=$!
"$@" --name host2 & two=$!
wait $one $two
wait $one $two
"""


def _run_script(folder: Path, srun: str, **variables: str) -> None:
    program = folder / "bin/srun"
    program.parent.mkdir()
    program.write_text(srun)
    program.chmod(0o755)
    done = subprocess.run(
        [
            *("sh", str(ROOT / "deploy/slurm.sh"), "experiment=harness", *FAST),
            *("dataset.count=64", "cluster.replicas=2", f"run.dir={folder}/runs"),
        ],
        cwd=ROOT,
        env=os.environ
        | {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "PORT": str(free_port()),
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_CPUS_ON_NODE": "2",
        }
        | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = RunFolder(folder / "runs/latest")
    replicas = read_json(found.replicas, list[ReplicaRecord])
    assert [replica.node for replica in replicas] == ["host1", "host2"]
    assert not list(ROOT.glob(".cluster-key.*")), "the key goes with the job"


@pytest.mark.integration
def test_slurm_script_makes_a_run_over_its_nodes(tmp_path: Path) -> None:
    _run_script(tmp_path, SRUN)


@pytest.mark.integration
def test_slurm_script_runs_each_step_in_a_container(tmp_path: Path) -> None:
    log = tmp_path / "srun.log"
    _run_script(
        tmp_path,
        PYXIS,
        **{"CONTAINER": "/images/sut.sqsh", "MOUNTS": "/data:/data"},
        **{"SLURMD_NODENAME": "n1", "SRUN_LOG": str(log)},
    )
    steps = log.read_text().splitlines()
    assert sorted(step.split()[-1] for step in steps) == [
        "sut.keys",
        "sut.main",
        "sut.node",
    ]
    mounts = f"--container-mounts={ROOT}:{ROOT},/data:/data"
    for step in steps:
        assert "--container-image=/images/sut.sqsh" in step
        assert mounts in step
        assert ("--overlap" in step) is ("sut.node" not in step)


@pytest.mark.integration
@pytest.mark.skipif(missing() is not None, reason=f"Slurm: {missing()}")
def test_slurm_job_over_three_nodes_one_of_which_fails(tmp_path: Path) -> None:
    samples = 300
    with SlurmCluster(3) as slurm:
        job = slurm.command(
            *("sbatch", "--parsable", "--nodes=3", "--gpus-per-node=0"),
            *(f"--output={tmp_path}/job.log", f"--chdir={ROOT}"),
            f"--export=ALL,PYTHON={sys.executable},PORT={free_port()}",
            *(str(ROOT / "deploy/slurm.sh"), "experiment=harness"),
            *(f"dataset.count={samples}", "engine.step_s=0.02"),
            *("engine.output_tokens=32", "engine.max_num_seqs=16"),
            *("cluster.replicas=3", "cluster.heartbeat_timeout_s=3"),
            f"run.dir={tmp_path}/runs",
        ).strip()
        folder = RunFolder(tmp_path / "runs/latest")

        def state() -> str:
            # A job that has ended some time ago is no longer known.
            show = ("squeue", "--noheader", "--format=%T", f"--job={job}")
            return slurm.command(*show, check=False).strip()

        def runs() -> bool:
            return state() in {"PENDING", "CONFIGURING", "RUNNING"}

        def recorded(count: int) -> bool:
            log = tmp_path / "job.log"
            assert runs(), log.read_text() if log.exists() else state()
            path = folder.samples
            return path.exists() and path.read_bytes().count(b"\n") >= count

        _wait_for(lambda: recorded(samples // 6))
        replicas = read_json(folder.replicas, list[ReplicaRecord])
        assert [replica.node for replica in replicas] == ["n1", "n2", "n3"]
        # The job's script and the coordinator run on n1.
        slurm.kill("n3")
        (lost,) = [r for r in replicas if r.node == "n3"]
        agent = psutil.Process(lost.pid).parent()
        assert agent is not None
        agent.kill()
        _wait_for(lambda: not runs())
        log = (tmp_path / "job.log").read_text()
    verdict = read_json(folder.verdict, Verdict)
    assert verdict.degraded, log
    assert [check.name for check in verdict.failures] == [], log
    done: list[SampleRecord] = list(read_lines(folder.samples, SampleRecord))
    assert {sample.seq for sample in done} == set(range(samples))
    assert {sample.status for sample in done} == {"completed"}
    events: list[EventRecord] = list(read_lines(folder.events, EventRecord))
    fences = [event for event in events if event.kind == "fence"]
    assert [event.node for event in fences] == ["n3"]
    assert not list(ROOT.glob(".cluster-key.*")), "the key goes with the job"
    assert not psutil.pid_exists(lost.pid)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
