"""Runs `python -m sut.main` as a user does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from record.folder import RunFolder, read_json, read_lines
from record.structs import EventRecord, ReplicaRecord, SampleRecord, Verdict

ROOT = Path(__file__).resolve().parents[2]
SYNTHETIC = ["experiment=harness", "dataset.count=64", "cluster.replicas=2"]
FAST = ["engine.step_s=0.0005", "engine.decode_s_per_sequence=0"]


@dataclass(kw_only=True)
class Finished:
    """A run that has ended."""

    code: int
    out: str
    err: str
    seconds: float
    folder: RunFolder

    @property
    def verdict(self) -> Verdict:
        return read_json(self.folder.verdict, Verdict)

    @property
    def is_good(self) -> bool:
        """Whether nothing failed but what made-up tokens cannot have: an accuracy."""
        failed = [check.name for check in self.verdict.failures]
        if "there is no text to score" in self.err:
            return self.code == 1 and failed == ["accuracy_scored"]
        return self.code == 0 and self.verdict.outcome == "passed"

    @property
    def lost_nothing(self) -> bool:
        """Whether only the pace failed: with a replica less a queue may grow."""
        failed = {check.name for check in self.verdict.failures}
        return self.code in (0, 1) and failed <= {"steady_state"}

    @property
    def samples(self) -> list[SampleRecord]:
        return list(read_lines(self.folder.samples, SampleRecord))

    @property
    def events(self) -> list[EventRecord]:
        return list(read_lines(self.folder.events, EventRecord))

    @property
    def replicas(self) -> list[ReplicaRecord]:
        return read_json(self.folder.replicas, list[ReplicaRecord])


class Command:
    """One `sut.main` process and the run folder that it makes."""

    def __init__(
        self, runs: Path, *overrides: str, env: dict[str, str] | None = None
    ) -> None:
        self._runs = runs
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sut.main", f"run.dir={runs}", *overrides],
            cwd=ROOT,
            env=os.environ | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self._runs / "latest")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the coordinator."""
        self._process.send_signal(number)

    def replica_pids(self) -> list[int]:
        """Wait until replicas.json is there; return the replicas' process ids."""
        self.wait_for(self.folder.replicas.exists, "replicas.json")
        return [r.pid for r in read_json(self.folder.replicas, list[ReplicaRecord])]

    def wait_for_samples(self, count: int, seconds: float = 60) -> None:
        """Wait until this many samples are recorded."""

        def enough() -> bool:
            path = self.folder.samples
            return path.exists() and path.read_bytes().count(b"\n") >= count

        self.wait_for(enough, f"{count} samples", seconds)

    def wait_for(
        self, condition: Callable[[], bool], what: str, seconds: float = 60
    ) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return
            assert self._process.poll() is None, f"ended before {what}: {self._rest()}"
            time.sleep(0.05)
        self._process.kill()
        raise AssertionError(f"{what} never came")

    def finish(self, timeout_s: float = 120) -> Finished:
        """Wait for the end."""
        out, err = self._process.communicate(timeout=timeout_s)
        return Finished(
            code=self._process.returncode,
            out=out,
            err=err,
            seconds=time.monotonic() - self._started,
            folder=RunFolder((self._runs / "latest").resolve()),
        )

    def _rest(self) -> str:
        out, err = self._process.communicate(timeout=10)
        return out + err


def run(runs: Path, *overrides: str, timeout_s: float = 120) -> Finished:
    """Run to the end."""
    return Command(runs, *overrides).finish(timeout_s)


def alive(pids: list[int]) -> list[int]:
    """Return those of the processes that still run, after a moment's grace."""
    for _ in range(40):
        left = [p for p in pids if psutil.pid_exists(p) and _running(p)]
        if not left:
            return []
        time.sleep(0.05)
    return left


def _running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill_group(pid: int) -> None:
    """Kill a process and its group."""
    os.killpg(pid, signal.SIGKILL)
