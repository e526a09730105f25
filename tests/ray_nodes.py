"""A Ray cluster of several nodes on this host, for tests."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import psutil

from tests.external_nodes import free_port

_RAY = str(Path(sys.executable).with_name("ray"))
_START_S = 120
_OURS = ("sut.launcher", "sut.node", "sut.replica", "sut.clusters.guard")
MARK = "MLPERF_SUT_TEST"
"""Environment variable that processes of a test inherit."""


class RayNodes:
    """Starts `count` nodes of two cores; leaves nothing of them."""

    def __init__(self, count: int = 3) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        # Short: Ray keeps sockets in it.
        self.folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
        self.token = self.folder.name
        """Marks every process of ours that a test starts: see `left_behind`."""
        self.environment = {
            **os.environ,
            MARK: self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
            # A dead node is noticed after seconds, not a minute.
            "RAY_health_check_initial_delay_ms": "1000",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_timeout_ms": "1000",
            "RAY_health_check_failure_threshold": "10",
            "RAY_worker_niceness": "0",
        }
        self.groups: list[int] = []
        """Process group of each node."""
        self._processes: list[subprocess.Popen[bytes]] = []
        port = self.address.rpartition(":")[2]
        try:
            self._start(
                *("--head", f"--port={port}", f"--temp-dir={self.folder}"),
                "--include-dashboard=false",
            )
            for _ in range(count - 1):
                self.add()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for group in self.groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for process in self._processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self, number: int) -> None:
        """Kill a node as if its host lost power: all of Ray, not what Ray started."""
        os.killpg(self.groups[number], signal.SIGKILL)

    def add(self) -> None:
        """Start one more node."""
        self._start(f"--address={self.address}")

    @property
    def overrides(self) -> list[str]:
        """Options of `sut.main` that use it."""
        return [
            *("cluster=ray", f"cluster.address={self.address}"),
            "cluster.cpus_per_replica=1",
        ]

    def _start(self, *options: str) -> None:
        number = len(self._processes)
        log = self.folder / f"node-{number}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(_RAY, "start", *options, "--num-cpus=2", "--block"),
                    *("--object-store-memory=80000000", "--disable-usage-stats"),
                    f"--labels=number={number}",
                ],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        self.groups.append(process.pid)
        deadline = time.monotonic() + _START_S
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


def left_behind(token: str) -> list[str]:
    """Return the processes of ours that runs with this token have left on this host."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline())
            is_ours = any(f"-m {name}" in command for name in _OURS)
            if is_ours and process.environ().get(MARK) == token:
                found.append(f"{process.pid} {command}")
    return found
