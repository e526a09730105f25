"""Runs `python -m sut.main` again and again, and remembers the run folders."""

import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from base.errors import UserError
from campaigns.outcome import outcome

GOOD, NOT_GOOD, BAD_INPUT = 0, 1, 2
_GRACE_S = 30.0
"""A run flushes its logs and ends its replicas within 10 s of an interrupt."""


@dataclass(slots=True, kw_only=True)
class Made:
    """One run that has ended."""

    size: int
    rate: float | None
    folder: Path
    code: int
    passed: bool
    in_vain: str
    """Why a search cannot go on from it; empty where a lower rate might pass."""


@dataclass(slots=True, kw_only=True)
class Series:
    """Makes runs of one campaign, one after another."""

    root: Path
    """Folder of the campaign; each run makes its own in it."""
    overrides: Sequence[str]
    cores_per_replica: int
    """Cores that each replica gets in every size."""
    samples_per_replica: int | None
    """None: as many samples in all sizes."""
    made: list[Made] = field(default_factory=list)

    def run(self, size: int, rate: float | None = None, note: str = "") -> Made:
        """Make one run to its end.

        Args:
            size: number of replicas.
            rate: arrival rate in queries/s; None: as the scenario has it.
            note: what the user is told beside the size.

        Raises:
            UserError: the run refused its configuration, or left no folder.
        """
        arguments = [
            *self.overrides,
            f"run.dir={self.root}",
            f"cluster.replicas={size}",
        ]
        if self.samples_per_replica is not None:
            arguments.append(f"run.min_queries={self.samples_per_replica * size}")
        if rate is not None:
            arguments.append(f"scenario.target_qps={rate:.6g}")
        told = f", {rate:.4g} queries/s" if rate is not None else ""
        print(
            f"== run {len(self.made) + 1}{note}: {size} replica(s){told}",
            file=sys.stderr,
            flush=True,
        )
        before = self._latest()
        with self._cores(size):
            code = _wait([sys.executable, "-m", "sut.main", *arguments])
        folder = self._latest()
        if code == BAD_INPUT or folder is None or folder == before:
            raise UserError(f"the run with {size} replica(s) was refused; see above")
        ended = outcome(folder)
        made = Made(
            size=size,
            rate=rate,
            folder=folder,
            code=code,
            passed=ended.passed,
            in_vain=ended.in_vain,
        )
        self.made.append(made)
        return made

    def _latest(self) -> Path | None:
        link = self.root / "latest"
        return link.resolve() if link.exists() else None

    @contextmanager
    def _cores(self, size: int) -> Iterator[None]:
        """Let the run see as many cores as its replicas are due."""
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(cores)[: size * self.cores_per_replica])
        try:
            yield
        finally:
            os.sched_setaffinity(0, cores)


def mixed(sizes: Sequence[int], rounds: int, seed: int) -> Iterator[tuple[int, int]]:
    """Yield (round, size): every size once a round, in another order each round.

    What drifts (temperature, other work on the host) then falls on all sizes alike.
    """
    generator = random.Random(seed)
    for place in range(rounds):
        order = list(sizes)
        generator.shuffle(order)
        for size in order:
            yield place + 1, size


def _wait(command: list[str]) -> int:
    """Run a command to its end; return its exit code.

    Raises:
        KeyboardInterrupt: after the command, which hears Ctrl-C too, has ended.
    """
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
            process.kill()
            raise
