"""Makes the short runs of vLLM on a CPU that forecasts are compared with.

    python -m benchmarks.forecast_runs FOLDER [--seconds 600] [--only tiny|smollm2]

Two models: a Llama of 2 layers with random weights, and SmolLM2-135M with prompts cut
to 100 tokens. Server at several rates and engine limits, and Offline. Each run is a
process of `python -m sut.main`. A run that is already in FOLDER is not made again: call
the script until it prints `complete`. It begins no run that it expects to end later
than `--seconds` from its own start.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from record.folder import RecordError, RunFolder, read_json
from record.structs import Verdict
from tests.tiny_llama import write_tiny_llama

ROOT = Path(__file__).resolve().parents[1]
VOCABULARY = 2048
_ROWS = 400
_EXPECTED_S = 75.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One run to make."""

    model: str
    rate: float | None
    """Queries/s; None: Offline."""
    queries: int
    sequences: int
    budget: int

    @property
    def name(self) -> str:
        """Folder of the run."""
        rate = "offline" if self.rate is None else f"{self.rate:g}"
        return f"{self.model}-{rate}-s{self.sequences}-b{self.budget}"


def loads() -> list[Load]:
    """Return the runs: each engine setting at several rates, and Offline."""
    found = []
    for sequences, budget in ((64, 2048), (64, 512), (16, 2048), (32, 1024)):
        rates = (8.0, 12.0, 16.0, 20.0, 24.0, 28.0)
        found += [
            Load(model="tiny", rate=r, queries=n, sequences=sequences, budget=budget)
            for r, n in [*((r, int(12 * r)) for r in rates), (None, 300)]
        ]
    for sequences, budget in ((16, 2048), (8, 512)):
        found += [
            Load(model="smollm2", rate=r, queries=n, sequences=sequences, budget=budget)
            for r, n in (
                (0.6, 24),
                (0.9, 30),
                (1.2, 36),
                (1.6, 40),
                (2.2, 44),
                (None, 40),
            )
        ]
    return found


def main() -> int:
    """Make what is missing; return 1 while something is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--only", choices=("tiny", "smollm2"))
    options = parser.parse_args()
    begin, took = time.monotonic(), _EXPECTED_S
    missing = [
        load
        for load in loads()
        if options.only in (None, load.model)
        and not _finished(options.folder / load.name)
    ]
    for done, load in enumerate(missing):
        if time.monotonic() - begin + took > options.seconds:
            print(f"{len(missing) - done} runs left; call it again")
            return 1
        started = time.monotonic()
        _make(load, options.folder)
        took = max(20.0, time.monotonic() - started)
        print(f"{load.name}: {took:.0f} s", flush=True)
    print("complete")
    return 0


def run_of(folder: Path) -> Path | None:
    """Return the run inside the folder of a load that has a verdict; else None."""
    for path in sorted(folder.glob("2*")):
        try:
            verdict = read_json(RunFolder(path).verdict, Verdict)
        except RecordError:
            continue
        if verdict.outcome != "aborted":
            return path
    return None


def _finished(folder: Path) -> bool:
    return run_of(folder) is not None


def _make(load: Load, folder: Path) -> None:
    options = [
        f"engine.options.max_num_seqs={load.sequences}",
        f"engine.options.max_num_batched_tokens={load.budget}",
        # With more threads than free cores
        # every operator of a tiny model waits 10 ms for the last one.
        "engine.env.OMP_NUM_THREADS=1",
        "engine.warmup_requests=2",
        "run.live=plain",
        f"run.min_queries={load.queries}",
        f"run.dir={folder / load.name}",
        *_of_model(load.model, folder),
    ]
    if load.rate is None:
        options.append("scenario=offline")
    else:
        options += ["scenario=server", f"scenario.target_qps={load.rate:g}"]
    with (folder / "runs.log").open("ab") as log:
        subprocess.run(
            [sys.executable, "-m", "sut.main", *options],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            check=False,
        )


def _of_model(model: str, folder: Path) -> list[str]:
    data = folder / f"{model}.json"
    rng = np.random.default_rng(1)
    if model == "tiny":
        checkpoint = folder / "tiny-llama"
        if not (checkpoint / "config.json").exists():
            write_tiny_llama(
                checkpoint, vocabulary=VOCABULARY, hidden=128, heads=2, kv_heads=1
            )
        _write_rows(data, rng, VOCABULARY, rng.lognormal(np.log(160), 0.5, _ROWS))
        return [
            "model=custom",
            f"model.path={checkpoint}",
            "dataset=custom",
            f"dataset.path={data}",
        ]
    _write_rows(data, rng, 40_000, rng.lognormal(np.log(60), 0.4, _ROWS))
    return ["dataset=custom", f"dataset.path={data}"]


def _write_rows(
    path: Path, rng: np.random.Generator, vocabulary: int, lengths: np.ndarray
) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "input": "",
            "output": "",
            "tok_input": rng.integers(3, vocabulary, int(length)).tolist(),
        }
        for length in lengths.clip(8, 1500)
    ]
    path.write_text(json.dumps(rows))


if __name__ == "__main__":
    sys.exit(main())
