"""The container images: what their files promise, and the image itself.

The image is tested where it was built: `make image-test` does both.
"""

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
_IMAGE = "localhost/mlperf-sut:cpu"


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
def container() -> Iterator[str]:
    if shutil.which("buildah") is None:
        pytest.skip("buildah is not installed, so there is no image to test")
    made = _buildah("from", "--pull-never", _IMAGE)
    if made.returncode != 0:
        pytest.skip("no image was built on this host; `make image-test` builds one")
    name = made.stdout.strip()
    yield name
    _buildah("rm", name)


def _buildah(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*_BUILDAH, *arguments], capture_output=True, text=True)


def _run(container: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return _buildah("run", "--isolation=chroot", container, "--", *arguments)


@pytest.mark.integration  # starts containers
def test_the_entry_point_runs_in_the_image(container: str) -> None:
    shown = _buildah("inspect", "--format", "{{.OCIv1.Config}}", container).stdout
    assert "mlperf-sut" in shown
    assert "10001" in shown
    assert _run(container, ["id", "-u"]).stdout == "10001\n"
    version = _run(container, ["mlperf-sut", "--version"])
    assert VERSION in version.stdout, version.stderr
    doctor = _run(container, ["mlperf-sut", "doctor", "--json"])
    assert doctor.returncode in (0, 1), doctor.stderr
    assert "as in cpu.lock" in doctor.stdout
    # What vLLM's kernels link to, less what torch brings.
    libraries = _run(container, ["sh", "-c", f"ldd {_KERNELS}"]).stdout
    missing = re.findall(r"(\S+) => not found", libraries)
    assert {name for name in missing if name[:6] not in ("libc10", "libtor")} == set()
    assert "libnuma" in libraries
    options = ["engine=synthetic", "dataset=synthetic", "dataset.count=8"]
    made = _run(container, ["mlperf-sut", "run", *options, "engine.step_s=0.001"])
    assert made.returncode == 0, made.stderr
    listed = _run(container, ["ls", "runs/latest/"])
    assert "report.html" in listed.stdout
