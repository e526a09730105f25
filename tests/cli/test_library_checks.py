"""What vLLM takes from the system, with libraries and compilers taken away."""

from pathlib import Path

import pytest

from cli.diagnosis import Diagnosis
from cli.library_checks import (
    check_compilers,
    check_libraries,
    compilers,
    library_checks,
)
from tests.cli.test_doctor import level, write

_LISTED = """\
/site/vllm/_C.abi3.so:
\tlinux-vdso.so.1 (0x00007f54fd902000)
\tlibnuma.so.1 => {numa}
\tlibc10.so => not found
\tlibcuda.so.1 => not found
\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f54fd7f7000)
"""
_FOUND = "/lib/x86_64-linux-gnu/libnuma.so.1 (0x00007f54fd8e3000)"
_OLD = "/site/vllm/_C.abi3.so: /lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found"
_TOOLS = ("a C compiler", "Python.h", "a C++ compiler", "ninja", "nvcc")


def check(folder: Path, listed: str, error: str = "") -> Diagnosis:
    write(folder / "torch/lib/libc10.so", "")
    ldd = write(
        folder / "ldd", f"#!/bin/sh\ncat <<'E'\n{listed}E\ncat >&2 <<'E'\n{error}\nE\n"
    )
    ldd.chmod(0o755)
    return check_libraries([folder / "vllm/_C.abi3.so"], [folder], str(ldd))


def test_libraries_of_torch_and_of_the_driver_are_not_missed(tmp_path: Path) -> None:
    assert level(check(tmp_path, _LISTED.format(numa=_FOUND))) == "good"


def test_a_missing_library_is_named_with_its_package(tmp_path: Path) -> None:
    found = check(tmp_path, _LISTED.format(numa="not found"))
    assert level(found) == "bad"
    assert found.found == "vLLM needs libnuma.so.1, not found"
    assert found.remedy == (
        "apt-get install libnuma1 (Red Hat: dnf install numactl-libs)"
    )
    found = check(
        tmp_path, _LISTED.replace("libnuma", "libfoo").format(numa="not found")
    )
    assert found.remedy == "install the system packages that have libfoo.so.1"


def test_a_library_that_is_too_old_is_named(tmp_path: Path) -> None:
    found = check(tmp_path, _LISTED.format(numa=_FOUND), _OLD)
    assert level(found) == "bad"
    assert "libstdc++.so.6" in found.found
    assert "GLIBCXX_3.4.30" in found.found


def test_a_host_without_ldd_is_not_blamed(tmp_path: Path) -> None:
    found = check_libraries([tmp_path], [], str(tmp_path / "none"))
    assert level(found) == "good"
    assert "not checked" in found.found


@pytest.mark.parametrize(
    ("missing", "on_gpu"),
    [
        ((), "good"),
        (("a C compiler",), "bad"),
        (("Python.h",), "bad"),
        (("nvcc", "ninja"), "warning"),
    ],
)
def test_compilers(missing: tuple[str, ...], on_gpu: str) -> None:
    found = {name: name not in missing for name in _TOOLS}
    assert level(check_compilers(found, has_gpus=True)) == on_gpu
    assert level(check_compilers(found, has_gpus=False)) == "good"
    assert all(name in check_compilers(found, has_gpus=True).found for name in missing)


def test_compilers_are_found_by_path_and_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CC", "CXX", "CUDA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not compilers()["a C compiler"]
    write(tmp_path / "gcc", "").chmod(0o755)
    assert compilers()["a C compiler"]
    monkeypatch.setenv("CC", "none")
    assert not compilers()["a C compiler"]
    write(tmp_path / "bin" / "nvcc", "")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert compilers()["nvcc"]


@pytest.mark.integration  # lists the libraries of all of vLLM
def test_this_host_has_what_its_own_vllm_needs() -> None:
    found = {line.name: level(line) for line in library_checks(has_gpus=False)}
    assert found == {"libraries": "good", "compilers": "good"}
