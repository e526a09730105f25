"""Replicas as processes of this host, each in its own process group."""

import contextlib
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from base.child import module_command, module_environment
from record.folder import RunFolder
from sut.clusters.guard import WAIT_S, held_memory, kill_group, members, remove_unused
from sut.clusters.numa import memory_node, numa_nodes
from sut.wire.node_messages import Placement

_KILL_WAIT_S = 5.0
_GUARD_WAIT_S = 5.0
"""Seconds that the guard may take to end. It may be stopped, or wait for a disk."""
_POLL_S = 0.02


class Guard:
    """A process that cleans up on this host, should this one be killed.

    See `sut.clusters.guard`.
    """

    def __init__(self, scratch: Path) -> None:
        """Start it.

        Args:
            scratch: folder that it removes in the end.

        Raises:
            OSError: it cannot be started.
        """
        # Apart from this process group: a signal to all of it must not end the guard.
        self.process = subprocess.Popen(
            module_command("sut.clusters.guard", str(scratch)),
            env=module_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        os.set_blocking(self.process.stdin.fileno(), False)

    def watch(self, group: int) -> None:
        """Have it kill a process group."""
        self._write(str(group))

    def watch_memory(self, path: Path) -> None:
        """Have it remove a segment of shared memory."""
        self._write(str(path))

    def forget(self, group: int) -> None:
        """Have it leave a process group alone: it is gone."""
        self._write(str(-group))

    def close(self, wait_s: float) -> None:
        """Have it remove what is left, and wait for its end."""
        try:
            self.process.communicate(timeout=wait_s)
        except subprocess.TimeoutExpired:
            # The result is complete by now: what it would do, its owner has done.
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=_POLL_S)

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        # A guard that is stopped reads nothing. Once the pipe is full, lines are lost:
        # nothing may wait for a guard.
        with contextlib.suppress(BrokenPipeError, BlockingIOError):
            os.write(self.process.stdin.fileno(), os.fsencode(f"{line}\n"))


class LocalCluster:
    """Implements `sut.clusters.base.Cluster`."""

    def __init__(
        self,
        placements: list[Placement],
        folder: RunFolder,
        scratch: Path,
        cache: Path,
        environment: dict[str, str],
        key: Path | None = None,
    ) -> None:
        """Prepare; nothing is started.

        Args:
            placements: where each replica runs.
            folder: run folder, which takes the output of each process.
            scratch: folder for temporary files of the replicas, deleted with the
                run.
            cache: folder under which each replica keeps its compile caches.
            environment: variables set for every replica, over this process's own.
            key: file of the key that replicas connect with, where there is one.
        """
        self._placements = {p.replica: p for p in placements}
        self._folder = folder
        self._scratch = scratch
        self._cache = cache
        self._environment = environment
        self._key = key
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._dying: dict[int, subprocess.Popen[bytes]] = {}
        self._segments: set[Path] = set()
        """Shared memory that replicas have held."""
        self._guard: Guard | None = None
        self._starter = ThreadPoolExecutor(1, "starter")
        """Starts every process: the kernel kills a replica when the thread that
        started it ends, and the caller's may end before the cluster is closed."""

    @property
    def placements(self) -> list[Placement]:
        """Every replica that `start` will start."""
        return list(self._placements.values())

    def start(self, replica: int, address: str, identity: str) -> None:
        """Start the process of `replica`.

        Raises:
            OSError: it cannot be started.
        """
        guard = self._guard = self._guard or Guard(self._scratch)
        place = self._placements[replica]
        command = [
            *module_command("sut.replica"),
            *("--connect", address, "--identity", identity),
            *("--replica", str(replica), "--node", place.node),
            *("--parent", str(os.getpid())),
        ]
        for gpu in place.gpus:
            command += ["--gpu", gpu]
        if (memory := memory_node(place.cpus, numa_nodes())) is not None:
            command += ["--memory-node", str(memory)]
        if self._key is not None:
            command += ["--key", str(self._key)]
        log = self._folder.replica_log(replica)
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as output:
            process = self._starter.submit(
                subprocess.Popen[bytes],
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._replica_environment(place),
                start_new_session=True,
            ).result()
        self._processes[replica] = process
        guard.watch(process.pid)
        if place.cpus:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, place.cpus)

    def on_ready(self, replica: int) -> None:
        """Note the shared memory that the replica's processes hold."""
        process = self._processes.get(replica)
        if process is not None and self._guard is not None:
            for path in held_memory(process.pid) - self._segments:
                self._segments.add(path)
                self._guard.watch_memory(path)

    def exited(self) -> dict[int, str]:
        """Return how each replica ended that is no longer running, by number."""
        codes = {number: p.poll() for number, p in self._processes.items()}
        return {n: _ending(code) for n, code in codes.items() if code is not None}

    def kill(self, replica: int) -> None:
        """Kill the replica's process group; a GPU process may take seconds to go."""
        process = self._processes.pop(replica, None)
        if process is not None:
            self._segments |= kill_group(process.pid)
            self._dying[replica] = process

    def gone(self, replica: int) -> bool:
        """Return whether nothing is left of a replica that was killed."""
        process = self._dying.get(replica)
        if process is not None:
            if process.poll() is None or members(process.pid):
                return False
            if self._guard is not None:
                self._guard.forget(process.pid)
            del self._dying[replica]
        return True

    def close(self, grace_s: float) -> None:
        """Wait `grace_s` seconds for replicas to leave, then kill what still runs.

        Calling it again does no harm, also where something that was killed is not gone.
        """
        deadline = time.monotonic() + grace_s
        # A replica's helpers clean up after it: they are waited for as well.
        while len(self.exited()) < len(self._processes) or any(
            members(process.pid) for process in self._processes.values()
        ):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        for replica in list(self._processes):
            self.kill(replica)
        deadline = time.monotonic() + _KILL_WAIT_S
        while not all([self.gone(replica) for replica in list(self._dying)]):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        remove_unused(self._segments)
        self._end_guard()
        self._starter.shutdown(wait=False)

    def _end_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            # Where something that was killed is not gone, it waits for it as well.
            guard.close(_GUARD_WAIT_S + (WAIT_S if self._dying else 0.0))

    def _replica_environment(self, place: Placement) -> dict[str, str]:
        caches = self._cache / f"replica-{place.replica}"
        temporary = self._scratch / f"{place.replica}"
        temporary.mkdir(exist_ok=True)
        cores = ",".join(str(core) for core in place.cpus)
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(temporary),
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
        return module_environment(environment)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
