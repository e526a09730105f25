"""How runs end when what is around them stops, fills up or goes away."""

import contextlib
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from sut.wire.keys import make_key
from tests.integration.command import FAST, ROOT, SYNTHETIC, Command, alive, run

pytestmark = pytest.mark.integration
SLOW = [
    *SYNTHETIC,
    "dataset.count=160",
    "engine.step_s=0.02",
    "engine.output_tokens=16",
    "engine.max_num_seqs=8",
]


def _guard_of(pid: int) -> psutil.Process:
    (guard,) = [
        child
        for child in psutil.Process(pid).children()
        if "sut.clusters.guard" in child.cmdline()
    ]
    return guard


def test_a_stopped_guard_does_not_hang_a_finished_run(tmp_path: Path) -> None:
    command = Command(tmp_path, *SLOW)
    command.wait_for_samples(20)
    guard = _guard_of(command.pid)
    guard.suspend()
    done = command.finish()
    assert done.code == 0, done.err
    assert alive([guard.pid]) == []


def test_a_run_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command = Command(tmp_path, *SLOW)
    finally:
        signal.signal(signal.SIGHUP, before)
    command.wait_for_samples(20)
    command.signal(signal.SIGHUP)
    done = command.finish()
    assert done.code == 0, done.err


def test_a_terminal_that_is_closed_ends_a_run_well(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover  (the child)
        os.chdir(ROOT)
        arguments = [f"run.dir={tmp_path}", "run.live=rich", *SLOW]
        os.execv(sys.executable, [sys.executable, "-m", "sut.main", *arguments])
    samples = tmp_path / "latest" / "samples.jsonl"
    os.set_blocking(terminal, False)
    deadline = time.monotonic() + 120
    while not (samples.exists() and samples.stat().st_size):
        assert time.monotonic() < deadline, "no sample came"
        with contextlib.suppress(OSError):
            os.read(terminal, 1 << 16)
        time.sleep(0.05)
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 3
    verdict = (tmp_path / "latest" / "verdict.json").read_text()
    assert "interrupted by SIGHUP" in verdict


def test_few_open_files_are_enough_to_begin_with(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    line = f"{sys.executable} -m sut.main run.dir={tmp_path} {' '.join(SYNTHETIC)}"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -S -n 40; {line} cluster.replicas=12"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert hard > 200
    assert done.returncode == 0, done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system with room for the record of a run, not for its report."""
    mount = shutil.which("mount")
    folder = tmp_path / "small"
    folder.mkdir()
    options = [mount or "mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if mount is None or subprocess.run(options, check=False).returncode:
        pytest.skip("no right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_without_room_for_the_report_is_no_success(small_disk: Path) -> None:
    done = run(small_disk, *SYNTHETIC, *FAST)
    assert done.verdict.outcome == "passed"
    assert done.code == 3, done.err
    assert "no report (" in done.err
    assert f"mlperf-sut report {done.folder.path}" in done.err
    assert "open next" not in done.out


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short name: paths of sockets in it have a limit."""
    with TemporaryDirectory(prefix="ends-") as folder:
        yield Path(folder)


def test_runs_of_two_containers_share_a_temporary_folder(
    tmp_path: Path, temporary: Path
) -> None:
    """The first run's process numbers mean nothing to the second."""
    unshare = [shutil.which("unshare") or "unshare", "--pid", "--fork", "--mount-proc"]
    with contextlib.suppress(OSError):
        if subprocess.run([*unshare, "true"], check=False).returncode:
            pytest.skip("no right to make PID namespaces")
    environment = os.environ | {"TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "sut.main"]
    # Numbers that nobody has here, so that only the lock says who is alive.
    last = 'echo 3000000 > /proc/sys/kernel/ns_last_pid; exec "$@" & wait $!'
    output = tmp_path / "output"
    with (
        output.open("w") as file,
        subprocess.Popen(
            [*unshare, "sh", "-c", last, "-", *command, f"run.dir={tmp_path}/a", *SLOW],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        ) as first,
    ):
        deadline = time.monotonic() + 120
        while not (tmp_path / "a/latest/replicas.json").exists():
            assert time.monotonic() < deadline, "the first run never began"
            assert first.poll() is None, output.read_text()
            time.sleep(0.05)
        (scratch,) = temporary.iterdir()
        number = scratch.name.split("-")[2]
        assert not Path(f"/proc/{number}").exists()
        with_scratch = "from sut.scratch import Scratch\nwith Scratch(): pass\n"
        subprocess.run(
            [sys.executable, "-c", with_scratch], cwd=ROOT, env=environment, check=True
        )
        assert (scratch / "socket").exists()
        first.wait(120)
    assert first.returncode == 0, output.read_text()
    assert list(temporary.iterdir()) == []


def test_a_killed_coordinator_of_nodes_leaves_no_temporary_folder(
    tmp_path: Path, temporary: Path
) -> None:
    make_key(tmp_path / "key")
    command = Command(
        tmp_path / "runs",
        *SYNTHETIC,
        *("cluster=external", "cluster.nodes=1", f"cluster.key={tmp_path}/key"),
        "cluster.listen=127.0.0.1:47311",
        env={"TMPDIR": str(temporary)},
    )
    command.wait_for(lambda: any((tmp_path / "runs").glob("*/config.yaml")), "a run")
    time.sleep(0.5)
    command.signal(signal.SIGKILL)
    command.finish(10)
    assert list(temporary.iterdir()) == []
