"""`python -m tests.soak`: faults at random times until enough have landed.

Prints each trial's seed, then a Markdown table by class of fault. A trial is repeated
by `--seed SEED --faults 1`. Exit code 1 where anything did not hold.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.soak.faults import (
    CORE_KILLED,
    REPLICA_FAULTS,
    RUN_FAULTS,
    ReplicaFault,
    RunFault,
)
from tests.soak.trial import (
    SYNTHETIC,
    Engine,
    Trial,
    replica_trial,
    run_trial,
    vllm_engine,
)

_EVERY = 3
"""One trial in so many ends its run."""


def main() -> int:
    """Run the soak; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--faults", type=int, default=200, help="how many must land")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--engine", choices=["synthetic", "vllm"], default="synthetic")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-model-") as model:
        engine = (
            SYNTHETIC if arguments.engine == "synthetic" else vllm_engine(Path(model))
        )
        trials = _soak(engine, arguments.seed, arguments.faults)
    print(_table(trials))
    failed = [trial.seed for trial in trials if trial.problems]
    landed = sum(o.landed for t in trials for o in t.outcomes)
    print(f"{len(trials)} trials, {landed} faults, trials with problems: {failed}")
    return 1 if failed else 0


def _soak(engine: Engine, seed: int, faults: int) -> list[Trial]:
    trials: list[Trial] = []
    landed = 0
    try:
        for trial in _trials(seed, engine):
            trials.append(trial)
            landed += sum(outcome.landed for outcome in trial.outcomes)
            faults_landed = ", ".join(o.fault for o in trial.outcomes if o.landed)
            result = "; ".join(trial.problems) or "ok"
            print(
                f"seed {trial.seed}: {trial.what}: {faults_landed or 'none landed'}:"
                f" {trial.samples} samples, {trial.seconds:.1f} s: {result}",
                flush=True,
            )
            if landed >= faults:
                break
    except KeyboardInterrupt:
        print("interrupted; so far:")
    return trials


def _trials(seed: int, engine: Engine) -> Iterator[Trial]:
    for number in range(sys.maxsize):
        deck = random.Random(seed + number).sample(REPLICA_FAULTS, len(REPLICA_FAULTS))
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            work = Path(folder)
            try:
                if (seed + number) % _EVERY == 0:
                    fault = RUN_FAULTS[(seed + number) % len(RUN_FAULTS)]
                    yield run_trial(seed + number, engine, fault, work)
                elif number == 0 and engine is not SYNTHETIC:
                    # The engine core is a process of its own only if asked for.
                    apart = ["engine.in_process=false"]
                    yield replica_trial(seed, engine, [CORE_KILLED], work, apart)
                else:
                    yield replica_trial(seed + number, engine, deck, work, [])
            except (AssertionError, subprocess.TimeoutExpired) as error:
                yield Trial(seed=seed + number, what="", problems=[str(error)])


def _table(trials: list[Trial]) -> str:
    known: list[ReplicaFault | RunFault] = [*REPLICA_FAULTS, CORE_KILLED, *RUN_FAULTS]
    rows = [
        "| fault | how it is injected | landed | seconds to notice or to exit:"
        " median | longest |",
        "|---|---|---:|---:|---:|",
    ]
    for fault in known:
        outcomes = [o for t in trials for o in t.outcomes if o.fault == fault.name]
        landed = [o for o in outcomes if o.landed]
        times = [o.seconds for o in landed if o.seconds is not None]
        median = f"{np.median(times):.2f}" if times else ""
        longest = f"{max(times):.2f}" if times else ""
        if outcomes:
            rows.append(
                f"| {fault.name} | {fault.how} | {len(landed)} | {median} | {longest} |"
            )
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
