"""One run with faults at random times, and all that must hold after it."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from conf.schema import DatasetConfig
from qsl.dataset import load_dataset
from record.folder import RecordError, RunFolder, read_json, read_lines
from record.loadgen_log import read_answers
from record.structs import EventRecord, ReplicaRecord, SampleRecord, Verdict
from sut.engines.synthetic import synthetic_answer
from tests.integration.command import ROOT, Command
from tests.soak.faults import (
    CORE_KILLED,
    REPLICA_FAULTS,
    ReplicaFault,
    RunFault,
    marked_processes,
    replicas,
)
from tests.tiny_llama import write_tiny_llama

SABOTAGE = Path(__file__).parent / "sabotage"
SHARED_MEMORY = Path("/dev/shm")
OUTPUT_TOKENS = 32
EXIT_LIMIT_S = 10.0
"""Seconds from what ends a run to the end of its process."""
_START_S = 300.0
_END_S = 900.0
CHECKED = [
    "cluster.heartbeat_timeout_s=3",
    "cluster.step_timeout_s=3",
    "run.live=plain",
]


LIMITS = ["run.ttft_ms=100000", "run.tpot_ms=100000"]
"""Of Server, wide enough for faults."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one fault led to."""

    fault: str
    landed: bool
    seconds: float | None = None
    """From the fault to its event, or to the end of the process."""


@dataclass(slots=True, kw_only=True)
class Trial:
    """One run under faults."""

    seed: int
    what: str
    outcomes: list[Outcome] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    samples: int = 0
    lost: int = 0
    """Samples that were issued and not completed, where all had to be."""
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Engine:
    """How to run an engine under faults."""

    overrides: list[str]
    queries: int
    """Fewest in performance mode; in accuracy mode each sample of the data set."""
    replicas: int
    faults: int
    """At most so many in a run."""
    target_qps: float
    """Rate in Server."""
    spread_s: float
    """Faults come within this time after the first answer."""
    life_s: float
    """About how long a whole run takes, from its command on."""


SYNTHETIC = Engine(
    overrides=[
        "experiment=harness",
        f"engine.output_tokens={OUTPUT_TOKENS}",
        "engine.step_s=0.02",
        "engine.max_num_seqs=64",
        "dataset.count=4000",
        "cluster.replicas=4",
        "cluster.load_timeout_s=8",
    ],
    queries=4000,
    replicas=4,
    faults=8,
    spread_s=9.0,
    life_s=15.0,
    target_qps=400,
)


def vllm_engine(folder: Path) -> Engine:
    """Return vLLM with a tiny model of random weights, which is written to `folder`."""
    return Engine(
        overrides=[
            *("model=llama3_1-8b_dummy", f"model.path={write_tiny_llama(folder)}"),
            "engine.options.load_format=safetensors",
            *("dataset=synthetic", "dataset.prompt_tokens=100", "dataset.count=3000"),
            *("cluster.replicas=2", "engine.cpu_kv_cache_gib=1"),
            "cluster.load_timeout_s=240",
            # A step of a real model on a busy core may take seconds.
            *("cluster.heartbeat_timeout_s=10", "cluster.step_timeout_s=20"),
        ],
        queries=3000,
        replicas=2,
        faults=4,
        spread_s=50.0,
        life_s=80.0,
        target_qps=30,
    )


class Stage:
    """A run in surroundings of its own, so that what it leaves can be seen."""

    def __init__(self, work: Path, overrides: Iterable[str]) -> None:
        """Start the run."""
        self.sabotage, self.temporary = work / "sabotage", work / "tmp"
        self.sabotage.mkdir(parents=True)
        self.temporary.mkdir()
        path = [str(SABOTAGE), str(ROOT), os.environ.get("PYTHONPATH", "")]
        self._shared = _names(SHARED_MEMORY)
        self.began = time.monotonic()
        self.command = Command(
            work / "runs",
            *CHECKED,
            *overrides,
            env={
                "SABOTAGE": str(self.sabotage),
                "TMPDIR": str(self.temporary),
                "PYTHONPATH": os.pathsep.join(filter(None, path)),
            },
        )

    def leftovers(self) -> list[str]:
        """Return what the run left behind, after a moment's grace."""
        found: list[str] = []
        for _ in range(100):
            shared = _names(SHARED_MEMORY) - self._shared
            found = [
                *(f"process {line}" for line in marked_processes(str(self.sabotage))),
                *(f"temporary file {name}" for name in _names(self.temporary)),
                *(f"shared memory {name}" for name in shared if not _mapped(name)),
                *(f"socket {line}" for line in self._sockets()),
            ]
            if not found:
                break
            time.sleep(0.05)
        return found

    def _sockets(self) -> list[str]:
        lines = Path("/proc/net/unix").read_text().splitlines()
        return [line for line in lines if str(self.temporary) in line]


def replica_trial(
    seed: int, engine: Engine, deck: list[ReplicaFault], work: Path, extra: list[str]
) -> Trial:
    """Run with faults of replicas, from the end of `deck`; nothing may be lost."""
    rng = random.Random(seed)
    scenario = rng.choice(["offline", "server"])
    mode = rng.choice(["performance", "accuracy"])
    overrides = [*engine.overrides, f"scenario={scenario}", f"mode={mode}"]
    if mode == "performance":
        overrides.append(f"run.min_queries={engine.queries}")
    if scenario == "server":
        overrides += [f"scenario.target_qps={engine.target_qps}", *LIMITS]
    overrides += extra
    stage = Stage(work, [*overrides, "cluster.restarts=9"])
    trial = Trial(seed=seed, what=f"{scenario} {mode}")
    injected: list[tuple[ReplicaFault, int, int]] = []
    stage.command.wait_for_samples(1, _START_S)
    count = min(len(deck), rng.randint(2, engine.faults))
    moments = sorted(rng.uniform(0, engine.spread_s) for _ in range(count))
    first_answer = time.monotonic()
    for moment in moments:
        time.sleep(max(0.0, first_answer + moment - time.monotonic()))
        # Replica 0 is left alone: somebody has to be there to take over.
        number = rng.randint(1, engine.replicas - 1)
        target = replicas(stage.command.pid).get(number)
        if target is not None:
            fault = deck.pop()
            at_ns = _inject(fault, number, target, stage.sabotage)
            if at_ns is not None:
                injected.append((fault, number, at_ns))
    done = stage.command.finish(_END_S)
    trial.seconds = time.monotonic() - stage.began
    if not (done.is_good or done.lost_nothing):
        trial.problems.append(f"exit code {done.code}: {done.err[-500:]}")
    trial.problems += _readable(done.folder, complete=True)
    damaged = bool(trial.problems)
    trial.problems += stage.leftovers()
    if damaged:
        return trial
    for path in stage.sabotage.glob("*.*.*"):
        replica, at, name = path.name.split(".", 2)
        fault = next(f for f in _all() if f.name == name)
        injected.append((fault, int(replica), int(at)))
    trial.outcomes = [_look_up(done.folder, *entry) for entry in injected]
    samples: list[SampleRecord] = list(read_lines(done.folder.samples, SampleRecord))
    trial.samples = len(samples)
    trial.lost = sum(sample.status == "lost" for sample in samples)
    if {s.seq for s in samples} != set(range(len(samples))):
        trial.problems.append("a sample is recorded twice or not at all")
    if trial.lost:
        trial.problems.append(f"{trial.lost} samples lost")
    verdict = read_json(done.folder.verdict, Verdict)
    fenced = any(e.kind in ("fence", "pause") for e in _events(done.folder))
    if verdict.degraded != fenced:
        trial.problems.append(f"degraded is {verdict.degraded}, fenced {fenced}")
    if mode == "accuracy" and engine is SYNTHETIC:
        trial.problems += _others_answers(done.folder)
    return trial


def run_trial(seed: int, engine: Engine, fault: RunFault, work: Path) -> Trial:
    """Run with one fault that ends it, at any moment between command and report."""
    rng = random.Random(seed)
    scenario = rng.choice(["offline", "server"])
    overrides = [*engine.overrides, f"scenario={scenario}"]
    overrides.append(f"run.min_queries={engine.queries}")
    if scenario == "server":
        overrides += [f"scenario.target_qps={engine.target_qps}", *LIMITS]
    stage = Stage(work, overrides)
    moment = rng.uniform(0.0, engine.life_s)
    trial = Trial(seed=seed, what=f"{scenario}, {moment:.1f} s after the start")
    if fault.name in ("all replicas lost", "disk full"):
        stage.command.wait_for_samples(1, _START_S)
        moment = rng.uniform(0.0, engine.spread_s)
    time.sleep(moment)
    landed = stage.command.running
    committed = time.monotonic()
    if landed:
        fault.commit(stage.command)
    done = stage.command.finish(_END_S)
    ended = time.monotonic()
    trial.seconds = ended - stage.began
    judged = done.folder.verdict.exists() and (
        read_json(done.folder.verdict, Verdict).outcome == "passed"
    )
    # An interrupt that comes when only the last steps are left lets them end.
    landed = landed and not (done.code == 0 and judged)
    if landed:
        trial.outcomes.append(
            Outcome(fault=fault.name, landed=True, seconds=ended - committed)
        )
        if done.code != fault.code:
            trial.problems.append(f"exit code {done.code}: {done.err[-500:]}")
        if ended - committed > EXIT_LIMIT_S:
            trial.problems.append(f"took {ended - committed:.1f} s to end")
        if "Traceback" in done.err:
            trial.problems.append(f"traceback: {done.err[-1000:]}")
    trial.problems += stage.leftovers()
    if done.folder.path.is_dir() and done.folder.config.exists():
        trial.problems += _readable(done.folder, complete=False)
    return trial


def _all() -> list[ReplicaFault]:
    return [*REPLICA_FAULTS, CORE_KILLED]


def _inject(
    fault: ReplicaFault, number: int, target: psutil.Process, sabotage: Path
) -> int | None:
    """Commit a fault, or order it; return its time in ns where it is known."""
    at_ns = time.time_ns()
    try:
        if fault.commit is None:
            (sabotage / f"{number}.new").write_text(fault.name)
            (sabotage / f"{number}.new").rename(sabotage / str(number))
            if fault.name == "never-opens":
                target.kill()
            return None
        fault.commit(target)
        if fault.name == "stopped for 1 s":
            time.sleep(1)
            target.send_signal(signal.SIGCONT)
    except psutil.NoSuchProcess:
        return None
    return at_ns


def _look_up(
    folder: RunFolder, fault: ReplicaFault, number: int, at_ns: int
) -> Outcome:
    """Return how long it took until the events showed a fault."""
    if fault.cause is None:
        return Outcome(fault=fault.name, landed=True)
    for event in _events(folder):
        if (
            event.replica == number
            and event.kind == fault.kind
            and event.t_ns >= at_ns
            and re.search(fault.cause, event.cause)
        ):
            seconds = (event.t_ns - at_ns) / 1e9
            return Outcome(fault=fault.name, landed=True, seconds=seconds)
    # Overtaken by another fault of the same replica, or by the end of the run.
    return Outcome(fault=fault.name, landed=False)


def _events(folder: RunFolder) -> list[EventRecord]:
    return list(read_lines(folder.events, EventRecord))


def _readable(folder: RunFolder, complete: bool) -> list[str]:
    """Return what cannot be read of a run folder, and whether a report can be made."""
    problems = []
    try:
        for path, kind in (
            (folder.samples, SampleRecord),
            (folder.events, EventRecord),
        ):
            if path.exists():
                list(read_lines(path, kind))
        if folder.replicas.exists():
            read_json(folder.replicas, list[ReplicaRecord])
    except RecordError as error:
        if complete:
            problems.append(f"unreadable: {error}")
    report = subprocess.run(
        [sys.executable, "-m", "report", str(folder.path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if report.returncode != 0 or "Traceback" in report.stderr:
        problems.append(f"report: exit code {report.returncode}: {report.stderr}")
    return problems


def _others_answers(folder: RunFolder) -> list[str]:
    dataset = load_dataset(DatasetConfig(name="synthetic", count=4000))
    wrong = [
        answer.qsl_index
        for answer in read_answers(folder.accuracy_log)
        if answer.tokens.tobytes()
        != synthetic_answer(dataset.prompt(answer.qsl_index).tobytes(), OUTPUT_TOKENS)
    ]
    return [f"answers of others: {wrong[:5]}"] if wrong else []


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _mapped(name: str) -> bool:
    """Return whether a process (of a run beside this one, say) uses the memory."""
    path = SHARED_MEMORY / name
    try:
        remains = f" {path.stat().st_ino} "
    except FileNotFoundError:
        return True
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                lines = (entry / "maps").read_text().splitlines()
            except OSError:
                continue
            if any(remains in line and str(SHARED_MEMORY) in line for line in lines):
                return True
    return False
