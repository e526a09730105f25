"""Real runs whose host's clock is set, or whose coordinator is paused."""

import mmap
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from record.folder import read_json
from tests.integration.command import Command, Finished, alive, kill_group
from tests.integration.test_faults import SERVER, SLOW

pytestmark = pytest.mark.integration

# The C library's clock, with an offset that lies in a file which the test writes.
_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset_ns;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    real = dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("CLOCK_OFFSET_FILE");
    int file = path ? open(path, O_RDONLY) : -1;
    if (file >= 0) {
        void *page = mmap(0, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
        if (page != MAP_FAILED) offset_ns = page;
        close(file);
    }
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, now);
    if (code == 0 && clock == CLOCK_REALTIME && offset_ns) {
        int64_t ns = now->tv_sec * INT64_C(1000000000) + now->tv_nsec + *offset_ns;
        now->tv_sec = ns / INT64_C(1000000000);
        now->tv_nsec = ns % INT64_C(1000000000);
    }
    return code;
}
"""
_LEAVING = """
import atexit, os, pathlib
note = pathlib.Path(os.environ["LEFT"]) / str(os.getpid())
atexit.register(note.touch)
"""


class HostClock:
    """The wall clock as the processes with this environment see it."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("gcc") is None:
            pytest.skip("needs gcc")
        source, library = folder / "clock.c", folder / "clock.so"
        source.write_text(_SHIM)
        compile_it = ["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source)]
        subprocess.run([*compile_it, "-ldl"], check=True)
        self._offset = folder / "offset"
        self._offset.write_bytes(bytes(8))
        self.environment = {
            "LD_PRELOAD": str(library),
            "CLOCK_OFFSET_FILE": str(self._offset),
        }

    def set_by(self, seconds: float) -> None:
        """Set the clock, once, by this much."""
        with (
            self._offset.open("r+b") as file,
            mmap.mmap(file.fileno(), 8) as page,
        ):
            page[:] = struct.pack("<q", int(seconds * 1e9))


def _kinds(done: Finished) -> set[str]:
    return {event.kind for event in done.events}


@pytest.mark.parametrize(
    ("scenario", "seconds"),
    [(["scenario=offline"], -1.0), (SERVER, 5.0)],
    ids=["offline", "server"],
)
def test_a_run_whose_clock_was_set_fails(
    tmp_path: Path, scenario: list[str], seconds: float
) -> None:
    clock = HostClock(tmp_path)
    command = Command(tmp_path / "runs", *SLOW, *scenario, env=clock.environment)
    command.wait_for_samples(100)
    clock.set_by(seconds)
    done = command.finish()
    assert done.code == 1, done.err
    assert done.verdict.outcome == "failed"
    (check,) = [c for c in done.verdict.failures if c.name == "clock"]
    assert isinstance(check.value, float)
    assert check.value == pytest.approx(1000 * seconds, abs=1)
    assert f"the host's clock was set by {seconds:+.3f} s at " in check.note
    assert f"clock: {check.value}, limit 10.0" in done.out
    report = read_json(done.folder / "report.json", dict)
    assert "clock" in [finding["code"] for finding in report["findings"]]
    for sample in done.samples:
        assert sample.dispatched_ns is not None
        assert sample.completed_ns is not None
        assert sample.issued_ns <= sample.dispatched_ns <= sample.completed_ns
        assert sample.completed_ns - sample.issued_ns < done.seconds * 1e9


def test_a_clock_set_back_by_an_hour_does_not_hang_a_server_run(tmp_path: Path) -> None:
    clock = HostClock(tmp_path)
    overrides = [*SLOW, *SERVER, "run.stall_timeout_s=5"]
    command = Command(tmp_path / "runs", *overrides, env=clock.environment)
    pids = command.replica_pids()
    command.wait_for_samples(100)
    clock.set_by(-3600)
    done = command.finish(30)
    assert done.code == 3, done.err
    assert "LoadGen has issued nothing for 5." in done.err
    assert "Traceback" not in done.err
    assert done.verdict.outcome == "aborted"
    assert {"clock", "stall", "abort"} <= _kinds(done)
    assert alive(pids) == []


def test_a_coordinator_that_was_stopped_fences_nobody(tmp_path: Path) -> None:
    command = Command(tmp_path, *SLOW, *SERVER, "cluster.heartbeat_timeout_s=3")
    command.wait_for_samples(100)
    command.signal(signal.SIGSTOP)
    time.sleep(6)
    command.signal(signal.SIGCONT)
    done = command.finish()
    # What arrived meanwhile has waited: LoadGen may find the latencies too long.
    assert done.code in (0, 1), done.err
    assert "pause" in _kinds(done)
    assert not _kinds(done) & {"fence", "death", "retry", "abort"}
    assert {s.status for s in done.samples} == {"completed"}
    assert done.verdict.degraded
    late = {"loadgen_validity", "steady_state"}
    assert {check.name for check in done.verdict.failures} <= late


def test_a_replica_that_came_back_leaves_by_itself(tmp_path: Path) -> None:
    site, left = tmp_path / "site", tmp_path / "left"
    site.mkdir()
    left.mkdir()
    (site / "sitecustomize.py").write_text(_LEAVING)
    command = Command(
        tmp_path / "runs",
        *SLOW,
        "dataset.count=3000",
        "cluster.restarts=1",
        env={"PYTHONPATH": str(site), "LEFT": str(left)},
    )
    pids = command.replica_pids()
    command.wait_for_samples(100)
    kill_group(pids[0])
    done = command.finish()
    assert done.code == 0, done.err
    assert "rejoin" in _kinds(done)
    now = {record.pid for record in done.replicas}
    assert pids[0] not in now
    assert {int(note.name) for note in left.iterdir()} >= now
