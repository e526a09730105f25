"""Runs on GPUs: two replicas, one killed half-way, telemetry through NVML.

The model is tiny and random, its answers have full length: what is tested is that
processes, memory and readings are handled on GPUs as they are on a CPU.
"""

import os
import signal
import time
from pathlib import Path

import pynvml
import pytest

from record.folder import read_lines
from record.structs import DeviceLine, EngineLine, TelemetryLine
from sut.telemetry import gpu_count
from tests.integration.command import Command, Finished, alive, kill_group
from tests.tiny_llama import write_tiny_llama

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(gpu_count() < 2, reason="needs two GPUs"),
]
SAMPLES = 20_000
START_S = 240.0
SLACK_BYTES = 64 << 20


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    checkpoint = write_tiny_llama(tmp_path_factory.mktemp("tiny"))
    return [
        *("model=llama3_1-8b_dummy", f"model.path={checkpoint}"),
        "engine.options.load_format=safetensors",
        *("dataset=synthetic", "dataset.prompt_tokens=200"),
        *(f"dataset.count={SAMPLES}", "cluster.replicas=2"),
    ]


@pytest.fixture(scope="module")
def finished(
    overrides: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    command = Command(tmp_path_factory.mktemp("runs"), *overrides)
    return command.finish(START_S + 120)


def used_bytes() -> list[int]:
    """Return the memory in use on each of the first two GPUs."""
    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(2)]
    return [int(pynvml.nvmlDeviceGetMemoryInfo(handle).used) for handle in handles]


def assert_memory_returns_to(before: list[int]) -> None:
    # The driver takes a moment to reclaim what a killed process held.
    for _ in range(100):
        after = used_bytes()
        if all(a <= b + SLACK_BYTES for a, b in zip(after, before, strict=True)):
            return
        time.sleep(0.1)
    raise AssertionError(f"GPU memory in use: {after} bytes, {before} before the run")


def test_two_replicas_share_the_work(finished: Finished) -> None:
    assert finished.code == 0, finished.err + finished.out
    assert len(finished.samples) == SAMPLES
    assert {s.status for s in finished.samples} == {"completed"}
    assert {s.output_tokens for s in finished.samples} == {128}
    assert all(s.cached_tokens == 0 for s in finished.samples)
    counts = [sum(s.replica == n for s in finished.samples) for n in (0, 1)]
    assert min(counts) > SAMPLES / 4
    assert not finished.verdict.degraded


def test_each_replica_has_a_gpu_of_its_own(finished: Finished) -> None:
    zero, one = finished.replicas
    assert zero.devices != one.devices
    for record in (zero, one):
        assert "NVIDIA" in record.devices[0]
        assert record.memory_bytes is not None
        assert record.memory_bytes > 1 << 30
        assert record.compile_s is not None
        assert record.versions["driver"]
        assert record.before[0].device == f"gpu{record.replica}"
        assert record.before[0].memory_used_bytes is not None


def test_telemetry_of_gpus_is_complete(finished: Finished) -> None:
    lines: list[TelemetryLine] = list(
        read_lines(finished.folder.telemetry, TelemetryLine)
    )
    devices = [line for line in lines if isinstance(line, DeviceLine)]
    assert {(line.replica, line.device) for line in devices} == {
        (0, "gpu0"),
        (1, "gpu1"),
    }
    for line in devices:
        blank = [name for name in line.__struct_fields__ if getattr(line, name) is None]
        assert blank == []
        # None of a device that holds nothing yet, or no longer.
        assert 0 <= (line.memory_used_bytes or 0) <= (line.memory_total_bytes or 0)
        assert 20 < (line.power_w or 0) < 2000
        assert 100 < (line.sm_clock_mhz or 0) < 5000
    for number in (0, 1):
        own = [line for line in devices if line.replica == number]
        assert max(line.memory_used_bytes or 0 for line in own) > 1 << 30
        assert max(line.utilization_pct or 0 for line in own) > 0
    engines = [line for line in lines if isinstance(line, EngineLine)]
    assert {line.replica for line in engines} == {0, 1}
    assert max(line.running for line in engines) > 0
    assert max(line.kv_used or 0 for line in engines) > 0


@pytest.mark.parametrize("in_process", [True, False], ids=["in_process", "child"])
def test_a_killed_replica_loses_nothing_and_frees_its_gpu(
    tmp_path: Path, overrides: list[str], in_process: bool
) -> None:
    before = used_bytes()
    option = f"engine.in_process={str(in_process).lower()}"
    command = Command(tmp_path, *overrides, option)
    command.wait_for_samples(SAMPLES // 4, START_S)
    pids = command.replica_pids()
    if in_process:
        kill_group(pids[0])
    else:
        # The engine core is a child of the replica and must not outlive it.
        kill_one(pids[0])
    done = command.finish(180)
    assert done.code == 0, done.err
    assert {s.seq for s in done.samples} == set(range(SAMPLES))
    assert len(done.samples) == SAMPLES
    assert {s.status for s in done.samples} == {"completed"}
    assert max(s.attempt for s in done.samples) == 2
    assert done.verdict.degraded
    assert {"death", "fence", "retry"} <= {event.kind for event in done.events}
    assert alive(pids) == []
    assert_memory_returns_to(before)


def kill_one(pid: int) -> None:
    """Kill a process but not its group."""
    os.kill(pid, signal.SIGKILL)
