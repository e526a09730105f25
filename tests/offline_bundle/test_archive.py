"""The carried script, run by a shell as on a host, over a bundle of a few KB."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from offline_bundle.archive import SCRIPT, write_bundle
from offline_bundle.kernels import AHEAD

pytestmark = pytest.mark.integration

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
SUT = """
import os, sys, helper
print(sys.argv[1:], helper.VALUE, os.environ["HF_HUB_OFFLINE"], sys.stdin.read())
sys.exit(7)
"""
HOLD = ["--python", "-c", "import helper; print(helper.VALUE)"]
PART = 512
_OURS = ("HF_HUB_OFFLINE", "MLPERF_SUT_DIR")
"""Set where these tests run on a host that was itself set up from an offline bundle."""
BARE = Path(sys.base_prefix) / "bin" / f"python{HERE}"
"""A Python without this environment's packages."""


@dataclass(kw_only=True)
class Bundle:
    folder: Path

    def call(
        self, *arguments: str, cwd: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        around = {k: v for k, v in os.environ.items() if k not in _OURS}
        return subprocess.run(
            ["sh", str(self.folder / SCRIPT), *arguments],
            cwd=cwd or self.folder,
            env=around | {"PYTHON": sys.executable} | env,
            input="typed",
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def home(self) -> Path:
        return self.folder / "mlperf-sut"

    @property
    def parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.part-*"))

    @property
    def clean(self) -> bool:
        return not list(self.folder.glob(".*"))


Make = Callable[..., Bundle]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def bundle(
        value: str = "1",
        python: str = HERE,
        torch: str = "2.11.0",
        on_host: tuple[str, ...] = (),
        name: str = "with space",
        files: tuple[Path, ...] = (),
        kernels: str = "",
    ) -> Bundle:
        made = tmp_path / value
        (made / "src" / "sut").mkdir(parents=True)
        (made / "src" / "sut" / "__init__.py").touch()
        (made / "src" / "sut" / "main.py").write_text(SUT)
        (made / "site").mkdir()
        (made / "site" / "helper.py").write_text(f"VALUE = {value}\n")
        if kernels:
            (made / "site" / AHEAD / "xqa").mkdir(parents=True)
            (made / "site" / AHEAD / "xqa" / "xqa.so").touch()
        (made / "prompts.json").write_bytes(os.urandom(900))
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        for old in out.glob("*.part-*"):
            old.unlink()
        write_bundle(
            out,
            PART,
            {"src": made / "src", "site": made / "site"},
            [made / "prompts.json", *files],
            python=python,
            torch=torch,
            on_host=on_host,
            kernels=kernels,
        )
        return Bundle(folder=out)

    return bundle


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not done.stdout
    return done.stderr


def test_unpacks_once_and_hands_everything_on(make: Make, tmp_path: Path) -> None:
    bundle = make()
    assert len(bundle.parts) > 2
    assert {path.stat().st_size for path in bundle.parts[:-1]} == {PART}
    arguments = ["scenario=server", "a b=$c", "*"]
    module = ["--python", "-m", "sut.main", *arguments]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = bundle.call(*module, cwd=elsewhere)
    assert done.returncode == 7, done.stderr
    assert done.stdout == f"{arguments} 1 1 typed\n"
    assert "unpacking into" in done.stderr
    assert not list(elsewhere.iterdir())
    carried = (bundle.home / "files" / "prompts.json").read_bytes()
    assert carried == (tmp_path / "1" / "prompts.json").read_bytes()
    for part in bundle.parts:
        part.unlink()  # a second call does not even read them
    again = bundle.call(*module)
    assert (again.stdout, again.stderr) == (done.stdout, "")
    assert bundle.clean


def test_carried_links_become_what_they_point_to(make: Make, tmp_path: Path) -> None:
    (tmp_path / "blob").write_text("weights")
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").symlink_to(tmp_path / "blob")
    bundle = make(files=(model,))
    assert bundle.call("--python", "-c", "").returncode == 0
    unpacked = bundle.home / "files" / "model" / "model.safetensors"
    assert not unpacked.is_symlink()
    assert unpacked.read_text() == "weights"


def test_a_newer_bundle_takes_the_place_of_the_old(make: Make) -> None:
    assert make("1").call(*HOLD).stdout == "1\n"
    newer = make("2")
    assert newer.call(*HOLD).stdout == "2\n"
    assert newer.clean


@pytest.mark.parametrize(
    ("script", "kept"), [("echo 9.0; echo 9.0", True), ("echo 8.0", False), ("", True)]
)
def test_compiled_kernels_of_another_gpu_are_left_out(
    make: Make, tmp_path: Path, script: str, kept: bool
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    if script:
        (programs / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (programs / "nvidia-smi").chmod(0o755)
    bundle = make(kernels="90a")
    done = bundle.call(*HOLD, PATH=f"{programs}:{os.environ['PATH']}")
    assert done.stdout == "1\n"
    assert (bundle.home / "site" / AHEAD / "xqa" / "xqa.so").exists() == kept
    assert ("for another GPU (sm_90a)" in done.stderr) == (not kept)


def test_damaged_part(make: Make) -> None:
    bundle = make()
    data = bytearray(bundle.parts[1].read_bytes())
    data[7] ^= 1
    bundle.parts[1].write_bytes(data)
    line = one_line(bundle.call(*HOLD))
    assert "part-001 is damaged (512 bytes, 512 expected): carry it again" in line
    assert not bundle.home.exists()


def test_missing_parts(make: Make) -> None:
    bundle = make()
    count = len(bundle.parts)
    bundle.parts[1].unlink()
    line = one_line(bundle.call(*HOLD))
    assert f"1 of {count} parts are missing: carry mlperf-sut.part-001 to" in line


def test_wrong_python(make: Make) -> None:
    line = one_line(make(python="3.99").call(*HOLD))
    assert f"is Python {HERE}, the bundle is made for 3.99" in line


def test_no_python(make: Make) -> None:
    line = one_line(make().call(*HOLD, PYTHON="/no/python3"))
    assert "/no/python3 is no program" in line


def test_packages_that_the_host_lost(make: Make) -> None:
    done = make(on_host=("msgspec", "no-such-package")).call(*HOLD)
    assert done.stdout == "1\n"
    assert "lacks no-such-package, which were not carried" in done.stderr


def test_no_torch(make: Make) -> None:
    done = make(on_host=("torch",)).call(*HOLD, PYTHON=str(BARE), PYTHONPATH="")
    assert "has no torch: name the Python that has torch 2.11.0" in one_line(done)


def test_another_torch(make: Make, tmp_path: Path) -> None:
    info = tmp_path / "host" / "torch-2.10.0+cu130.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: torch\nVersion: 2.10.0+cu130\n")
    bundle = make(on_host=("torch",))
    line = one_line(bundle.call(*HOLD, PYTHONPATH=str(info.parent)))
    assert "has torch 2.10.0+cu130, the bundle's vLLM is made for 2.11.0" in line


def test_a_run_without_a_driver(make: Make) -> None:
    bundle = make()
    done = bundle.call("scenario=offline")
    if done.returncode == 7:
        pytest.skip("this host has a driver")
    assert "error: no NVIDIA driver here" in done.stderr
    assert done.returncode == 2


def test_a_folder_that_is_something_else_is_kept(make: Make) -> None:
    bundle = make()
    bundle.home.mkdir()
    (bundle.home / "mine").touch()
    done = bundle.call(*HOLD)
    assert done.returncode == 2
    assert "exists and is not from a bundle" in done.stderr
    assert (bundle.home / "mine").exists()
    assert bundle.clean


def test_unpacks_where_it_is_set_to(make: Make, tmp_path: Path) -> None:
    other = tmp_path / "deep" / "other"
    bundle = make()
    assert bundle.call(*HOLD, MLPERF_SUT_DIR=str(other)).stdout == "1\n"
    assert (other / "site" / "helper.py").exists()
    assert not bundle.home.exists()


def test_an_end_of_the_code_that_is_read_by_itself(tmp_path: Path) -> None:
    """Python's lzma reads 8 KiB at a time: here the last of them hold no files."""
    for name in ("src", "site", "out"):
        (tmp_path / name).mkdir()
    # Text of hexadecimal digits packs to about half, in steps of few bytes.
    blob = os.urandom(20_000).hex().encode()
    size, code = len(blob), 0
    for _ in range(40):
        (tmp_path / "site" / "blob").write_bytes(blob[:size])
        write_bundle(
            tmp_path / "out",
            1 << 20,
            {"src": tmp_path / "src", "site": tmp_path / "site"},
            [],
            python=HERE,
            torch="2.11.0",
            on_host=(),
        )
        match = re.search(
            r"CODE, ROOM = (\d+)", (tmp_path / "out" / SCRIPT).read_text()
        )
        assert match
        code = int(match[1]) % 8192
        if 0 < code <= 28:
            break
        size -= max(1, int((code - 28) * 1.5))
    assert 0 < code <= 28
    done = Bundle(folder=tmp_path / "out").call("--python", "-c", "print(1)")
    assert done.stdout == "1\n", done.stderr
