"""Replicas as processes of this host, each in its own process group."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from record.folder import RunFolder
from sut.clusters.base import Placement

_KILL_WAIT_S = 5.0


class LocalCluster:
    """Implements `sut.clusters.base.Cluster`."""

    def __init__(
        self,
        placements: list[Placement],
        folder: RunFolder,
        cache: Path,
        environment: dict[str, str],
    ) -> None:
        """Prepare; nothing is started.

        Args:
            placements: where each replica runs.
            folder: run folder, which takes the output of each process.
            cache: folder under which each replica keeps its compile caches.
            environment: variables set for every replica, over this process's own.
        """
        self._placements = {p.replica: p for p in placements}
        self._folder = folder
        self._cache = cache
        self._environment = environment
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._dying: list[subprocess.Popen[bytes]] = []

    @property
    def placements(self) -> list[Placement]:
        """Every replica that `start` will start."""
        return list(self._placements.values())

    def start(self, replica: int, address: str, identity: str) -> None:
        """Start the process of `replica`.

        Raises:
            OSError: it cannot be started.
        """
        place = self._placements[replica]
        command = [
            *(sys.executable, "-m", "sut.replica"),
            *("--connect", address, "--identity", identity),
            *("--replica", str(replica), "--node", place.node),
            *("--parent", str(os.getpid())),
        ]
        for gpu in place.gpus:
            command += ["--gpu", gpu]
        log = self._folder.replica_log(replica)
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._replica_environment(place),
                start_new_session=True,
            )
        self._processes[replica] = process
        if place.cpus:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, place.cpus)

    def exited(self) -> dict[int, str]:
        """Return how each replica ended that is no longer running, by number."""
        self._dying = [process for process in self._dying if process.poll() is None]
        codes = {number: p.poll() for number, p in self._processes.items()}
        return {n: _ending(code) for n, code in codes.items() if code is not None}

    def kill(self, replica: int) -> None:
        """Kill the replica's process group; a GPU process may take seconds to go."""
        process = self._processes.pop(replica, None)
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        self._dying.append(process)

    def close(self, grace_s: float) -> None:
        """Wait `grace_s` seconds for replicas to leave, then kill what still runs."""
        _wait(list(self._processes.values()), grace_s)
        for replica in list(self._processes):
            self.kill(replica)
        _wait(self._dying, _KILL_WAIT_S)

    def _replica_environment(self, place: Placement) -> dict[str, str]:
        caches = self._cache / f"replica-{place.replica}"
        cores = ",".join(str(core) for core in place.cpus)
        return {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_CACHE_ROOT": str(caches / "vllm"),
            "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
            "TRITON_CACHE_DIR": str(caches / "triton"),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": ",".join(place.gpus),
            **({"VLLM_CPU_OMP_THREADS_BIND": cores} if not place.gpus else {}),
            **self._environment,
        }


def _wait(processes: list[subprocess.Popen[bytes]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))


def _ending(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
