"""The locks fit what they are for."""

import re
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
_BLOCK = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: \\\n +--hash=sha256:[0-9a-f]{64})+\n"
)


def packages(lock: Path) -> dict[str, str]:
    """Return the versions by name; every byte of the file must be a hashed package."""
    text = lock.read_text()
    blocks = list(_BLOCK.finditer(text))
    assert "".join(block[0] for block in blocks) == text, lock.name
    return {block["name"]: block["version"] for block in blocks}


def test_there_are_locks_for_every_kind_of_host() -> None:
    names = {path.name for path in LOCKS}
    assert {"cpu.lock", "cuda.lock", "dev.lock", "docs.lock", "torch-cpu.lock"} < names


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.name))
def test_every_package_is_pinned_with_its_hashes(lock: Path) -> None:
    assert packages(lock)


@pytest.mark.parametrize("name", ["cuda", "calibration-cuda", "cuda-torch2.11"])
def test_hosts_with_gpus_do_not_get_torch_for_cpus(name: str) -> None:
    found = packages(ROOT / "requirements" / f"{name}.lock")
    assert Version(found["torch"]).local is None
    assert [name for name in found if name.startswith("nvidia-cublas")]


@pytest.mark.parametrize("name", ["cpu", "calibration-cpu", "dev"])
def test_hosts_without_gpus_get_torch_for_cpus_alone(name: str) -> None:
    assert "torch" not in packages(ROOT / "requirements" / f"{name}.lock")
    torch = packages(ROOT / "requirements" / "torch-cpu.lock")
    assert list(torch) == ["torch"]
    assert Version(torch["torch"]).local == "cpu"


def test_only_torch_is_asked_of_another_index() -> None:
    script = (ROOT / "scripts" / "install.sh").read_text()
    assert "--extra-index-url" not in script
    installs = [line for line in script.splitlines() if "install --" in line]
    for line in installs:
        assert "--require-hashes" in line or "--editable ." in line
    assert len(installs) == 2
