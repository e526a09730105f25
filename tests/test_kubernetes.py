"""The manifests for Kubernetes and KubeRay, as far as they can be tried without one."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from conf.clusters import ExternalConfig, RayConfig
from conf.load import load_config
from record.folder import RunFolder, read_json
from record.structs import ReplicaRecord
from sut.node import joining as node
from sut.wire.keys import make_key, read_key
from tests.external_nodes import free_port
from tests.integration.command import FAST

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = str(Path(sys.executable).with_name("mlperf-sut"))
KUBERNETES = ROOT / "deploy/kubernetes"


def _resources(folder: Path) -> list[Any]:
    """Return what the kustomization of a folder names."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    files = [folder / name for name in kustomization["resources"]]
    return [one for path in files for one in yaml.safe_load_all(path.read_text())]


@pytest.fixture(scope="module")
def manifests() -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for one in _resources(KUBERNETES):
        found[one["kind"]] = found[one["metadata"]["name"], one["kind"]] = one
    return found


@pytest.fixture(scope="module")
def rayjob() -> Any:
    return _resources(KUBERNETES / "kuberay")[0]["spec"]


def _container(manifest: Any) -> Any:
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return container


def _pods(manifests: dict[Any, Any], rayjob: Any) -> dict[str, Any]:
    """Return every pod template of both kustomizations."""
    cluster = rayjob["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    return {
        "node": manifests["StatefulSet"]["spec"]["template"],
        "coordinator": manifests["Job"]["spec"]["template"],
        "submitter": rayjob["submitterPodTemplate"],
        "ray-head": cluster["headGroupSpec"]["template"],
        "ray-worker": workers["template"],
    }


@pytest.mark.parametrize("version", ["1.28", "1.37"])
def test_manifests_fit_the_schemas_of_kubernetes(
    manifests: dict[Any, Any], rayjob: Any, version: str
) -> None:
    from kubernetes_validate import ValidationError, validate

    every = [*_resources(KUBERNETES), *_resources(KUBERNETES / "kuberay")]
    for one in every:
        # Kubernetes has no schema of what KubeRay defines; its pods are checked below.
        if one["kind"] != "RayJob":
            validate(one, version, strict=True)
    for template in _pods(manifests, rayjob).values():
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        validate(pod, version, strict=True)
        pod["spec"] = pod["spec"] | {"terminationGracePeriod": 60}
        with pytest.raises(ValidationError):
            validate(pod, version, strict=True)


def test_pods_run_as_the_image_does_and_may_do_no_more(
    manifests: dict[Any, Any], rayjob: Any
) -> None:
    text = (ROOT / "containers/cuda.Containerfile").read_text()
    (user,) = re.findall(r"^USER (\d+):", text, re.MULTILINE)
    for name, template in _pods(manifests, rayjob).items():
        spec = template["spec"]
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsUser"] == int(user), name
        assert spec["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
        assert volumes == mounts
        # The group that volumes and the key belong to.
        assert not volumes or spec["securityContext"]["fsGroup"] == int(user)


def test_a_key_from_a_secret_can_be_read(tmp_path: Path) -> None:
    """The kubelet makes root the owner, and fsGroup the group, of its files."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a file to another user")
    key = tmp_path / "key"
    make_key(key)
    key.chmod(0o440)
    os.chown(key, 0, 10001)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    os.setegid(10001)
    os.seteuid(10001)
    try:
        read_key(key)
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kustomize_sets_image_and_number_of_nodes_everywhere(tmp_path: Path) -> None:
    overlay = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, overlay)
    path = overlay / "kustomization.yaml"
    path.write_text(path.read_text().replace("count: 2", "count: 5"))
    for folder, tag in ((overlay, "cuda"), (overlay / "kuberay", "cuda-ray")):
        done = subprocess.run(
            ["kubectl", "kustomize", str(folder)],
            capture_output=True,
            text=True,
            check=True,
        )
        images = re.findall(r"image: (\S+)", done.stdout)
        assert set(images) == {f"mlperf-sut:{tag}"}
        if folder == overlay:
            assert len(images) == 2
            assert "- cluster.nodes=5" in done.stdout
            assert "  replicas: 5" in done.stdout
        else:
            assert len(images) == 3


@pytest.mark.integration
def test_kubernetes_job_and_nodes_fit_each_other(
    manifests: dict[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, nodes = _container(manifests["Job"]), _container(manifests["StatefulSet"])
    assert job["command"] == ["mlperf-sut", "run"]
    cluster = load_config(job["args"]).cluster
    assert isinstance(cluster, ExternalConfig)
    assert cluster.nodes == manifests["StatefulSet"]["spec"]["replicas"]
    assert nodes["command"] == ["mlperf-sut", "node"]
    monkeypatch.setattr(sys, "argv", ["sut.node", *nodes["args"]])
    options = node._parse()
    service = manifests["mlperf-coordinator", "Service"]
    port = int(cluster.listen.rpartition(":")[2])
    assert options.connect == f"{service['metadata']['name']}:{port}"
    assert [p["port"] for p in service["spec"]["ports"]] == [port, port + 1]
    labels = manifests["Job"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels
    assert str(options.key) == cluster.key


@pytest.mark.integration
def test_the_containers_of_kubernetes_make_a_run(
    manifests: dict[Any, Any], tmp_path: Path
) -> None:
    """Runs both command lines; what only a cluster has is replaced, and no GPU used."""
    port, key = free_port(), tmp_path / "key"
    make_key(key)
    replaced = {
        "mlperf-coordinator:5555": f"127.0.0.1:{port}",
        "/key/key": str(key),
        "run.dir=/runs": f"run.dir={tmp_path}/runs",
        "--alive=/tmp/alive": f"--alive={tmp_path}/$(NODE)",
    }

    def command(container: Any, **fields: str) -> list[str]:
        words = [*container["command"], *container["args"]]
        for old, new in (replaced | fields).items():
            words = [word.replace(old, new) for word in words]
        # Checkpoint and data set are on a volume, and the rate is that of GPUs.
        absent = ("model", "dataset", "scenario.target_qps")
        return [PROGRAM, *(w for w in words[1:] if not w.startswith(absent))]

    nodes = [
        subprocess.Popen(
            command(_container(manifests["StatefulSet"]), **{"$(NODE)": name}),
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
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        probes = _container(manifests["StatefulSet"])
        alive = [_probe(probes[name], tmp_path / "host1") for name in PROBES]
        # A node that is stuck.
        nodes[0].send_signal(signal.SIGSTOP)
        os.utime(tmp_path / "host1", (time.time() - 40,) * 2)
        stuck = [_probe(probes[name], tmp_path / "host1") for name in PROBES]
        nodes[0].send_signal(signal.SIGCONT)
    finally:
        for process in nodes:
            process.terminate()
        codes = [process.wait(30) for process in nodes]
    assert done.returncode == 0, done.stderr
    assert alive == [0, 0, 0]
    assert stuck == [0, 1, 1]
    grace = manifests["StatefulSet"]["spec"]["template"]["spec"]
    assert grace["terminationGracePeriodSeconds"] >= 60
    assert codes == [3, 3], "they ended by themselves"
    folder = RunFolder(tmp_path / "runs/latest")
    replicas = read_json(folder.replicas, list[ReplicaRecord])
    assert [replica.node for replica in replicas] == ["host1", "host2"]


COORDINATOR = "mlperf-coordinator"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def _probe(probe: Any, alive: Path) -> int:
    """Return the exit code of a probe's command."""
    words = [
        word.replace("/tmp/alive", str(alive)) for word in probe["exec"]["command"]
    ]
    return subprocess.run(words, check=False, timeout=30).returncode


def test_network_policies_let_nodes_reach_the_coordinator_and_nothing_else() -> None:
    every = _resources(KUBERNETES)
    policies = {
        one["metadata"]["name"]: one["spec"]
        for one in every
        if one["kind"] == "NetworkPolicy"
    }
    (service,) = [one for one in every if one["metadata"]["name"] == COORDINATOR][:1]
    pods = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in every
        if one["kind"] in ("Job", "StatefulSet")
    ]
    selected = [spec["podSelector"]["matchLabels"] for spec in policies.values()]
    assert sorted(map(str, selected)) == sorted(map(str, pods))
    coordinator = policies[COORDINATOR]
    (rule,) = coordinator["ingress"]
    (source,) = rule["from"]
    assert source["podSelector"] == policies["mlperf-node"]["podSelector"]
    ports = [port["port"] for port in service["spec"]["ports"]]
    assert [port["port"] for port in rule["ports"]] == ports
    assert "ingress" not in policies["mlperf-node"]


def test_the_rayjob_starts_a_run_that_can_be(rayjob: Any) -> None:
    program, command, *overrides = shlex.split(rayjob["entrypoint"])
    assert (program, command) == ("mlperf-sut", "run")
    cluster = load_config(overrides).cluster
    assert isinstance(cluster, RayConfig)
    spec = rayjob["rayClusterSpec"]
    (workers,) = spec["workerGroupSpecs"]
    (container,) = workers["template"]["spec"]["containers"]
    gpus = int(container["resources"]["limits"]["nvidia.com/gpu"])
    assert cluster.replicas == workers["replicas"] * gpus
    locked = (ROOT / "requirements/ray.in").read_text()
    # The dashboard takes the job.
    assert f"ray[default]=={spec['rayVersion']}" in locked
