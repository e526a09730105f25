"""A cluster of numbers: what the runs of a qualification measure, without processes."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from base.answer_pairs import ReplicaAnswer
from campaigns.qualify.options import QualifyOptions
from campaigns.qualify.peers import Yardstick
from campaigns.qualify.record import (
    HardwareFact,
    Qualification,
    QualifyRun,
    ReplicaMeasure,
)
from campaigns.qualify.runs import QualifyRunner
from campaigns.series import RunSeries
from record.campaign import Campaign
from report.reading.run import Run

TOKENS = 128
SPEED = 8000.0
PROMPTS = 600


@dataclass(kw_only=True)
class FakeCluster:
    """Replicas, their faults, and how much measurements vary."""

    nodes: int = 2
    per_node: int = 4
    seed: int = 0
    device_spread: float = 0.005
    """Standard deviation of the devices' speeds."""
    noise: float = 0.005
    """Standard deviation of a measurement."""
    disagree: float = 0.1
    """Share of answers that differ from the most common one, without any fault."""
    slow: dict[int, float] = field(default_factory=dict)
    """Factor on the time of a replica."""
    slow_together: dict[int, float] = field(default_factory=dict)
    """The same, in runs with all others."""
    wrong: dict[int, float] = field(default_factory=dict)
    """Share of wrong answers of a replica."""
    dead: set[int] = field(default_factory=set)
    """Replicas that do not start."""
    dies_in: dict[int, str] = field(default_factory=dict)
    """Phase in which a replica is lost."""
    facts: dict[int, HardwareFact] = field(default_factory=dict)
    devices: dict[int, str] = field(default_factory=dict)
    """Names of devices that are no H100."""
    problems: list[str] = field(default_factory=list)
    """Of each run."""
    ends: str = ""
    """Phase whose runs end early without a replica's fault."""

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        spread = self.rng.normal(1, self.device_spread, self.size)
        self.speed = {
            number: SPEED * float(spread[number]) / self.slow.get(number, 1.0)
            for number in range(self.size)
        }

    @property
    def size(self) -> int:
        return self.nodes * self.per_node

    def node(self, number: int) -> str:
        return f"n{number // self.per_node + 1}"

    def vary(self, value: float) -> float:
        return value * float(self.rng.normal(1, self.noise))

    def measure(self, number: int, phase: str) -> ReplicaMeasure:
        together = phase.endswith("all")
        factor = self.slow_together.get(number, 1.0) if together else 1.0
        speed = self.vary(self.speed[number] / factor)
        fact = self.facts.get(number)
        device = self.devices.get(number, "NVIDIA H100 80GB HBM3")
        measure = ReplicaMeasure(
            replica=number,
            node=self.node(number),
            devices=[f"{device} #{number % self.per_node}"],
            samples=1000,
            tokens_per_sample=float(TOKENS),
            hardware=[fact] if fact else [],
        )
        if phase.startswith("offline"):
            measure.tokens_per_s = speed
        elif phase.startswith("server"):
            measure.ttft_ms = 400 * SPEED / speed
            measure.tpot_ms = 60 * SPEED / speed
            measure.tpot_ms_p50 = 40 * SPEED / speed
        return measure

    def answers(self, members: list[int]) -> list[ReplicaAnswer]:
        owners = self.rng.choice(members, PROMPTS)
        found = []
        for index, owner in enumerate(owners.tolist()):
            common = np.random.default_rng(index).integers(3, 30_000, 24)
            tokens = common.astype(np.int32)
            if self.rng.random() < self.disagree:
                cut = int(self.rng.integers(8, 24))
                tokens[cut:] = self.rng.integers(3, 30_000, 24 - cut)
            if self.rng.random() < self.wrong.get(owner, 0.0):
                tokens = self.rng.integers(3, 30_000, 24).astype(np.int32)
            found.append(ReplicaAnswer(index, owner, tokens, 600 + index % 200))
        return found


@dataclass(slots=True, kw_only=True)
class FakeRunner(QualifyRunner):
    """Takes measurements from a `FakeCluster`."""

    cluster: FakeCluster
    launched: list[QualifyRun] = field(default_factory=list)
    written: bool = False

    def save(self) -> None:
        if self.written:
            QualifyRunner.save(self)

    def _launch(self, made: QualifyRun) -> int:
        self._options_of(made)
        made.run, made.seconds = f"run-{len(self.record.runs)}", 100.0
        self.launched.append(made)
        return 0

    def _read(self, made: QualifyRun) -> Run:
        cluster = self.cluster
        dead = [number for number in made.members if number in cluster.dead][:1]
        lost = [n for n in made.members if cluster.dies_in.get(n) == made.phase]
        for number in made.members:
            if number in dead:
                measure = ReplicaMeasure(
                    replica=number,
                    node=cluster.node(number),
                    devices=[],
                    died="exited with code 3",
                )
                made.measures.append(measure)
            elif not dead:
                measure = cluster.measure(number, made.phase)
                measure.died = "its process was killed" if number in lost else ""
                made.measures.append(measure)
        if made.phase.startswith("server"):
            made.percentile = 0.99
            made.ttft_limit_ms, made.tpot_limit_ms = 2000.0, 100.0
        made.problems = list(cluster.problems)
        answers = cluster.answers(made.members) if made.phase == "answers" else []
        ended_early = bool(dead) or len(lost) == len(made.members)
        ended_early = ended_early or made.phase == cluster.ends
        run = SimpleNamespace(
            verdict=SimpleNamespace(ended_early=ended_early, reason="it ended"),
            answers=answers,
            node_of={number: cluster.node(number) for number in made.members},
        )
        return cast(Run, run)


def qualify(
    cluster: FakeCluster,
    root: Path,
    yardstick: Yardstick | None = None,
    **options: Any,
) -> FakeRunner:
    """Return the runner after a whole qualification."""
    runner = make_runner(cluster, root, **options)
    known = yardstick or Yardstick(source="no reference")
    runner.make_all(lambda _: known)
    return runner


def make_runner(cluster: FakeCluster, root: Path, **options: Any) -> FakeRunner:
    wanted = QualifyOptions(samples=1000, **options)
    return FakeRunner(
        options=wanted,
        series=cast(RunSeries, SimpleNamespace(root=root, campaign=_campaign())),
        record=Qualification(
            command=["qualify"],
            started="2026-11-28T12:00:00Z",
            tolerance=wanted.tolerance,
            samples=wanted.samples,
        ),
        earlier=(),
        size=cluster.size,
        rows=13_368,
        cluster=cluster,
    )


def _campaign() -> Campaign:
    return Campaign(kind="qualify", command=[], scenario="offline", started="")
