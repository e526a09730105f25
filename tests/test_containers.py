"""The container images: what their files promise, and the images themselves.

An image is tested where it was built: `make image-test` builds and tests that for CPUs.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from setuptools import find_packages

from base.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "containers").glob("*.Containerfile"))
_STORE = ROOT / "build" / "containers"
_BUILDAH = ["buildah", "--root", str(_STORE / "storage"), "--runroot"]
_BUILDAH += [str(_STORE / "run"), "--storage-driver", "vfs"]
_KERNELS = "/opt/mlperf-sut/lib/python3.11/site-packages/vllm/_C*.so"
_RUN = ["mlperf-sut", "run", "dataset=synthetic", "dataset.count=8"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_an_image_is_pinned_and_runs_the_command_as_a_plain_user(path: Path) -> None:
    text = path.read_text()
    last = text.rpartition("FROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert 'ENTRYPOINT ["mlperf-sut"]' in last
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${BASE}", "${BASE}"]
    commands = text.replace("\\\n", " ").replace("&&", "\n").splitlines()
    installs = [command for command in commands if "pip install" in command]
    # The package itself is built from the checkout.
    assert sum(command.strip().endswith(" /src") for command in installs) == 1
    assert sum("--require-hashes" in command for command in installs) >= 1
    assert all("--no-deps" in command for command in installs)
    for lock in re.findall(r"/src/(requirements/\S+)", text):
        assert (ROOT / lock).exists()


def test_the_context_holds_the_whole_package() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!/") for line in lines if line.startswith("!/")}
    packages = {name.partition(".")[0] for name in find_packages(str(ROOT))}
    assert packages - kept == {"tests"}
    assert {"mlperf.conf", "user.conf", "setup.py", "requirements"} <= kept
    assert all((ROOT / name).exists() for name in kept)


@pytest.fixture(scope="module")
def cpu() -> Iterator[str]:
    yield from _container("cpu")


@pytest.fixture(scope="module")
def cuda() -> Iterator[str]:
    yield from _container("cuda")


def _container(kind: str) -> Iterator[str]:
    if shutil.which("buildah") is None:
        pytest.skip("buildah is not installed, so there is no image to test")
    made = _buildah("from", "--pull-never", f"localhost/mlperf-sut:{kind}")
    if made.returncode != 0:
        pytest.skip(f"no {kind} image was built on this host (scripts/image.sh {kind})")
    name = made.stdout.strip()
    yield name
    _buildah("rm", name)


def _buildah(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*_BUILDAH, *arguments], capture_output=True, text=True)


def _run(
    container: str, arguments: Sequence[str], *options: str
) -> subprocess.CompletedProcess[str]:
    return _buildah("run", "--isolation=chroot", *options, container, "--", *arguments)


def _doctor(container: str) -> dict[str, dict[str, str]]:
    found = _run(container, ["mlperf-sut", "doctor", "--json"])
    assert found.returncode in (0, 1), found.stderr
    return {line["name"]: line for line in json.loads(found.stdout)}


def _check_entry_point(container: str) -> None:
    shown = _buildah("inspect", "--format", "{{.OCIv1.Config}}", container).stdout
    assert "mlperf-sut" in shown
    assert "10001" in shown
    assert _run(container, ["id", "-u"]).stdout == "10001\n"
    version = _run(container, ["mlperf-sut", "--version"])
    assert VERSION in version.stdout, version.stderr
    made = _run(container, [*_RUN, "engine=synthetic", "engine.step_s=0.001"])
    assert made.returncode == 0, made.stderr
    listed = _run(container, ["ls", "runs/latest/"])
    assert "report.html" in listed.stdout


@pytest.mark.integration  # starts containers
def test_the_image_for_cpus(cpu: str) -> None:
    _check_entry_point(cpu)
    found = _doctor(cpu)
    assert found["packages"]["found"].endswith("as in cpu.lock")
    assert found["engine"]["level"] == found["libraries"]["level"] == "good"
    # What vLLM's kernels link to, less what torch brings.
    libraries = _run(cpu, ["sh", "-c", f"ldd {_KERNELS}"]).stdout
    missing = re.findall(r"(\S+) => not found", libraries)
    assert {name for name in missing if name[:6] not in ("libc10", "libtor")} == set()
    assert "libnuma" in libraries
    # A library that is not there is found.
    hide = "rm /usr/lib/x86_64-linux-gnu/libnuma.so.1*"
    assert _run(cpu, ["sh", "-c", hide], "--user=0").returncode == 0
    found = _doctor(cpu)
    assert found["libraries"]["level"] == "bad"
    assert "libnuma.so.1" in found["libraries"]["found"]
    assert "apt-get install libnuma1" in found["libraries"]["remedy"]


@pytest.mark.integration  # starts containers
def test_the_image_for_gpus_on_a_host_without_any(cuda: str) -> None:
    if Path("/dev/nvidia0").exists():
        pytest.skip("this host has GPUs")
    _check_entry_point(cuda)
    found = _doctor(cuda)
    assert found["libraries"]["level"] == "good"
    assert found["packages"]["found"].endswith("as in cuda.lock")
    assert found["engine"]["level"] == "warning"
    assert "--gpus all" in found["engine"]["remedy"]
    refused = _run(cuda, [*_RUN, "model=llama3_1-8b_dummy"])
    assert refused.returncode == 2, refused.stderr
    assert "this host shows none" in refused.stderr
    assert "Traceback" not in refused.stderr
