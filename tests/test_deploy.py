"""The scripts for clusters, as far as they can be tried without one."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from conf.clusters import ExternalConfig, RayConfig
from conf.load import load_config
from record.folder import RunFolder, read_json, read_lines
from record.structs import EventRecord, ReplicaRecord, SampleRecord, Verdict
from sut.node import joining as node
from sut.wire.keys import make_key
from tests.external_nodes import free_port
from tests.integration.command import FAST
from tests.slurm_cluster import SlurmCluster, missing

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


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    text = (ROOT / "deploy/kubernetes.yaml").read_text()
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def _container(manifest: Any) -> Any:
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.integration
def test_kubernetes_job_and_nodes_fit_each_other(
    manifests: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, nodes = _container(manifests["Job"]), _container(manifests["StatefulSet"])
    assert job["command"] == ["python", "-m", "sut.main"]
    cluster = load_config(job["args"]).cluster
    assert isinstance(cluster, ExternalConfig)
    assert cluster.nodes == manifests["StatefulSet"]["spec"]["replicas"]
    assert nodes["command"] == ["python", "-m", "sut.node"]
    monkeypatch.setattr(sys, "argv", ["sut.node", *nodes["args"]])
    options = node._parse()
    service = manifests["Service"]
    port = int(cluster.listen.rpartition(":")[2])
    assert options.connect == f"{service['metadata']['name']}:{port}"
    assert [p["port"] for p in service["spec"]["ports"]] == [port, port + 1]
    labels = manifests["Job"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels
    assert str(options.key) == cluster.key


@pytest.mark.integration
def test_the_containers_of_kubernetes_make_a_run(
    manifests: dict[str, Any], tmp_path: Path
) -> None:
    """Runs both command lines; what only a cluster has is replaced, and no GPU used."""
    port, key = free_port(), tmp_path / "key"
    make_key(key)
    replaced = {
        "mlperf-coordinator:5555": f"127.0.0.1:{port}",
        "/key/key": str(key),
        "run.dir=/runs": f"run.dir={tmp_path}/runs",
        "--wait-s=86400": "--wait-s=60",
    }

    def command(container: Any, **fields: str) -> list[str]:
        words = [*container["command"], *container["args"]]
        for old, new in (replaced | fields).items():
            words = [word.replace(old, new) for word in words]
        # Checkpoint and data set are on a volume, and the rate is that of GPUs.
        absent = ("model", "dataset", "scenario.target_qps")
        return [sys.executable, *(w for w in words[1:] if not w.startswith(absent))]

    nodes = [
        subprocess.Popen(
            command(_container(manifests["StatefulSet"]), **{"$(NODE)": name}),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in ("host1", "host2")
    ]
    try:
        done = subprocess.run(
            [
                *command(_container(manifests["Job"])),
                *(f"cluster.listen=127.0.0.1:{port}", "cluster.replicas=2"),
                *("experiment=harness", "cluster.gpus_per_replica=0", "run=smoke"),
                *(*FAST, "engine=synthetic", "dataset=synthetic", "dataset.count=64"),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        for process in nodes:
            process.terminate()
        for process in nodes:
            process.wait(30)
    assert done.returncode == 0, done.stderr
    folder = RunFolder(tmp_path / "runs/latest")
    replicas = read_json(folder.replicas, list[ReplicaRecord])
    assert [replica.node for replica in replicas] == ["host1", "host2"]


def test_network_policies_let_nodes_reach_the_coordinator_and_nothing_else() -> None:
    text = (ROOT / "deploy/kubernetes.yaml").read_text()
    every = list(yaml.safe_load_all(text))
    policies = {
        one["metadata"]["name"]: one["spec"]
        for one in every
        if one["kind"] == "NetworkPolicy"
    }
    (service,) = [one for one in every if one["kind"] == "Service"]
    pods = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in every
        if one["kind"] in ("Job", "StatefulSet")
    ]
    selected = [spec["podSelector"]["matchLabels"] for spec in policies.values()]
    assert sorted(map(str, selected)) == sorted(map(str, pods))
    coordinator = policies["mlperf-coordinator"]
    (rule,) = coordinator["ingress"]
    (source,) = rule["from"]
    assert source["podSelector"] == policies["mlperf-node"]["podSelector"]
    ports = [port["port"] for port in service["spec"]["ports"]]
    assert [port["port"] for port in rule["ports"]] == ports
    assert "ingress" not in policies["mlperf-node"]


@pytest.mark.integration
def test_slurm_script_makes_a_run_over_its_nodes(tmp_path: Path) -> None:
    srun = tmp_path / "bin/srun"
    srun.parent.mkdir()
    srun.write_text(SRUN)
    srun.chmod(0o755)
    done = subprocess.run(
        [
            *("sh", str(ROOT / "deploy/slurm.sh"), "experiment=harness", *FAST),
            *("dataset.count=64", "cluster.replicas=2", f"run.dir={tmp_path}/runs"),
        ],
        cwd=ROOT,
        env=os.environ
        | {
            "PATH": f"{srun.parent}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "PORT": str(free_port()),
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_CPUS_ON_NODE": "2",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = RunFolder(tmp_path / "runs/latest")
    replicas = read_json(folder.replicas, list[ReplicaRecord])
    assert [replica.node for replica in replicas] == ["host1", "host2"]
    assert not list(ROOT.glob(".cluster-key.*")), "the key goes with the job"


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


def test_the_rayjob_starts_a_run_that_can_be() -> None:
    (job,) = yaml.safe_load_all((ROOT / "deploy/kuberay.yaml").read_text())
    program, flag, module, *overrides = shlex.split(job["spec"]["entrypoint"])
    assert (program, flag, module) == ("python", "-m", "sut.main")
    cluster = load_config(overrides).cluster
    assert isinstance(cluster, RayConfig)
    spec = job["spec"]["rayClusterSpec"]
    (workers,) = spec["workerGroupSpecs"]
    (container,) = workers["template"]["spec"]["containers"]
    gpus = int(container["resources"]["limits"]["nvidia.com/gpu"])
    assert cluster.replicas == workers["replicas"] * gpus
    assert f"ray=={spec['rayVersion']}" in (ROOT / "requirements/ray.in").read_text()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
