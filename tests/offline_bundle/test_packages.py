from importlib.metadata import distributions
from pathlib import Path

import pytest

from base.errors import UserError
from offline_bundle.packages import (
    LOCKS,
    LeaveOut,
    Pin,
    choose_lock,
    misfits,
    read_leave_out,
    read_packages,
    read_pins,
    select,
)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "some.lock"
    path.write_text("numpy==2.3.5\ntilelang==0.1.9\ntorch==2.11.0\nvllm==0.26.0\n")
    return path


def test_freeze_is_read_in_all_its_forms(tmp_path: Path) -> None:
    freeze = tmp_path / "freeze.txt"
    freeze.write_text(
        "# a comment\nTorch_Geometric==2.8.0.post1\ntorch==2.11.0+cu130\nnumpy\n"
        "apex @ file:///opt/apex\n-e git+https://example.com/x#egg=x\n\n"
    )
    assert read_packages(freeze) == {
        "torch-geometric": "2.8.0.post1",
        "torch": "2.11.0+cu130",
        "numpy": None,
        "apex": None,
    }


def test_a_lock_is_read_with_its_hashes(tmp_path: Path) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text(
        "numpy==2.3.5 \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd\nvllm==0.26.0\n"
    )
    assert read_pins(lock) == {
        "numpy": Pin("2.3.5", ("sha256:ab", "sha256:cd")),
        "vllm": Pin("0.26.0"),
    }


def test_a_line_that_names_no_package_is_reported(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("torch 2.11.0\n")
    with pytest.raises(UserError, match=r"line 1: 'torch 2\.11\.0' names no package"):
        read_packages(tmp_path / "list")


def test_what_the_host_has_and_what_is_left_out_stays_behind(lock: Path) -> None:
    host = {"torch": "2.11.0+cu130", "numpy": None, "pandas": "3.0"}
    chosen = select(lock, host, LeaveOut(packages=["tile*"]))
    assert chosen.carried == {"vllm": Pin("0.26.0")}
    assert sorted(chosen.on_host) == ["numpy", "torch"]
    assert chosen.left_out == ["tilelang"]
    assert chosen.torch == "2.11.0"


def test_the_hosts_torch_chooses_the_lock() -> None:
    assert choose_lock({}).name == "cuda.lock"
    assert choose_lock({"torch": "2.13.0+cu130"}).name == "cuda.lock"
    assert choose_lock({"torch": "2.11.0"}).name == "cuda-torch2.11.lock"
    with pytest.raises(UserError, match=r"torch 2\.12\.1 \(there are 2\.11\.0, 2\.13"):
        choose_lock({"torch": "2.12.1"})


def test_a_lock_for_another_torch_is_refused(lock: Path) -> None:
    with pytest.raises(UserError, match=r"torch 2\.11\.0, the host has 2\.13\.0"):
        select(lock, {"torch": "2.13.0"}, LeaveOut())


def test_patterns_with_a_slash_are_of_files(tmp_path: Path) -> None:
    (tmp_path / "patterns").write_text("# why\nZ3_solver\nvllm/vllm-rs\n")
    patterns = read_leave_out([tmp_path / "patterns"])
    assert patterns == LeaveOut(packages=["z3-solver"], files=["vllm/vllm-rs"])
    assert patterns.package("z3-solver")
    assert not patterns.package("z3")


def test_nothing_that_every_host_needs_is_left_out() -> None:
    patterns = read_leave_out([LOCKS / "hopper-dense.leave-out"])
    needed = ["vllm", "flashinfer-python", "apache-tvm-ffi", "torch", "nvidia-cublas"]
    assert not [name for name in needed if patterns.package(name)]


def test_what_does_not_fit_together_is_said(tmp_path: Path) -> None:
    info = tmp_path / "a-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: a\nVersion: 1.0\nRequires-Dist: old>=2\n"
        "Requires-Dist: gone\nRequires-Dist: meant\nRequires-Dist: unknown>=3\n"
        'Requires-Dist: other; python_version < "3.12"\n'
        'Requires-Dist: extra; extra == "e"\n'
    )
    host = {"old": "1.5", "unknown": None}
    assert misfits(distributions(path=[str(tmp_path)]), host, ["meant"], "3.12") == [
        "a 1.0 asks for old>=2: it is 1.5",
        "a 1.0 asks for gone: missing",
    ]
