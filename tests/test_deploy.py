"""The scripts for clusters, as far as they can be tried without one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conf.load import load_config
from conf.schema import ExternalConfig
from record.folder import RunFolder, read_json
from record.structs import ReplicaRecord
from sut.node import joining as node
from tests.external_nodes import free_port
from tests.integration.command import FAST

ROOT = Path(__file__).resolve().parents[1]
SRUN = """#!/bin/sh
# Two hosts: each gets what srun would start there; a signal ends both.
trap 'kill $one $two' TERM
[ "$1" = --cpus-per-task=2 ] || exit 9
shift
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
