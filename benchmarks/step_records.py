"""What recording engine steps costs, in processor time.

    python -m benchmarks.step_records

An engine that answers at once is stepped with and without records, turn by turn; then
records go the coordinator's way into a file. Processor time of the thread is measured,
so that other work on the host counts little. Prints a Markdown table.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from record.folder import RunFolder
from record.steps import STEP
from record.writer import RecordWriter
from sut.clock import RunClock
from sut.coordinator.recorder import RunRecorder
from sut.coordinator.replica import Replica
from sut.engines.steps import StepRing
from sut.engines.synthetic import SyntheticEngine
from sut.wire.messages import EngineSpec, Request, Steps

_ROUNDS = 15
_REQUESTS = 2000
_BATCH = 80
"""Records of a message: a GPU at 80 steps/s."""


def _engine(steps: bool) -> SyntheticEngine:
    options = {
        "step_s": 0.0,
        "prefill_s_per_token": 0.0,
        "decode_s_per_sequence": 0.0,
        "max_num_seqs": 32,
        "max_num_batched_tokens": 8192,
        "output_tokens": 128,
    }
    return SyntheticEngine(
        EngineSpec(
            engine="synthetic",
            model_path="",
            dummy_weights=False,
            dtype="auto",
            max_model_len=4096,
            gpus=0,
            streaming=False,
            min_tokens=1,
            max_tokens=128,
            ignore_eos=True,
            stop_token_ids=[],
            seed=0,
            options=options,
            steps=steps,
        )
    )


def _step_us(engine: SyntheticEngine) -> float:
    """Return the processor time of a step in us, answers included."""
    for number in range(_REQUESTS):
        engine.add(Request(number, 1, number.to_bytes(4, "little") * 100))
    steps, begin = 0, time.thread_time()
    while engine.busy:
        engine.step()
        steps += 1
    used = time.thread_time() - begin
    engine.steps()
    return used / steps * 1e6


def _append_us() -> float:
    ring, count = StepRing(), 100_000
    begin = time.thread_time()
    for number in range(count):
        ring.append(number, 1, 2, 3, 4, 5, 6, 0)
    return (time.thread_time() - begin) / count * 1e6


def _message_us() -> float:
    """Return the coordinator's processor time for one message of `_BATCH` records."""
    data, count = np.zeros(_BATCH, STEP).tobytes(), 5000
    replica = Replica(0, "n0", record=None)
    with (
        tempfile.TemporaryDirectory() as folder,
        RecordWriter(RunFolder(Path(folder)), steps=True) as writer,
    ):
        recorder = RunRecorder(writer, RunClock())
        begin = time.thread_time()
        for _ in range(count):
            recorder.steps(replica, Steps(data, 0, 0, False))
        used = time.thread_time() - begin
    return used / count * 1e6


def main() -> None:
    """Measure and print."""
    without, with_ = _engine(False), _engine(True)
    pairs = [(_step_us(without), _step_us(with_)) for _ in range(_ROUNDS)]
    more = [second - first for first, second in pairs]
    rows = [
        ("a step of the synthetic engine, without records, us", [p[0] for p in pairs]),
        ("the same with records, us", [p[1] for p in pairs]),
        ("difference of the two, turn by turn, us", more),
        ("one record into the ring, us", [_append_us() for _ in range(_ROUNDS)]),
        (
            f"coordinator, one message of {_BATCH} records, us",
            [_message_us() for _ in range(3)],
        ),
    ]
    print("| what | median | least | most |\n|---|---:|---:|---:|")
    for name, values in rows:
        print(
            f"| {name} | {statistics.median(values):.2f} | {min(values):.2f}"
            f" | {max(values):.2f} |"
        )


if __name__ == "__main__":
    main()
