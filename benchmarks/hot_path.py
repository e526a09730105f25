"""The coordinator's Python for one sample, without sockets, threads and LoadGen.

    python -m benchmarks.hot_path [SAMPLES]

A loop over dispatcher, balancer, messages, responses and recorder in batches of 50
samples. Prints microseconds per sample: the least of all chunks of 200 samples, the
5th percentile and the median. The least is what the code takes while nothing else runs
on the core, so it can be compared on a busy machine.
"""

import argparse
import gc
import time
from collections import deque
from typing import Any

import numpy as np

from sut.balancers import make_balancer
from sut.clock import RunClock
from sut.coordinator.dispatcher import Dispatcher, Query
from sut.coordinator.recorder import RunRecorder
from sut.coordinator.replica import Replica
from sut.coordinator.responses import Batch, ResponseHandler
from sut.wire.messages import Completion, FirstToken, Outputs, Request

BATCH = 50
BATCHES = 4
ROWS = 1000
PROMPT = bytes(4 * 833)
ANSWER = bytes(8)


class _Records:
    """Takes records as `RecordWriter` does, and drops them."""

    failure = None

    def __init__(self) -> None:
        self.kept: deque[Any] = deque()
        self.sample = self.event = self.telemetry = self.kept.append


class _Responder:
    def __init__(self) -> None:
        self.completed = 0

    def first_tokens(self, batch: Batch) -> None:
        pass

    def complete(self, batch: Batch) -> None:
        self.completed += len(batch)


def chunk_us(streaming: bool, samples: int) -> np.ndarray:
    """Return microseconds per sample of each chunk, in ascending order."""
    clock, records, responder = RunClock(), _Records(), _Responder()
    recorder = RunRecorder(records, clock)  # type: ignore[arg-type]
    balancer = make_balancer(None, streaming)
    dispatcher = Dispatcher(balancer, [833] * ROWS, [128] * ROWS)
    handler = ResponseHandler(
        dispatcher, recorder, responder, clock, streaming, max_attempts=3
    )
    replicas = [Replica(0, "n", "0"), Replica(1, "n", "1")]
    for replica in replicas:
        dispatcher.add_replica(replica.number, "n", None if streaming else 65_536)
    received, found = [0, 0], []
    for first in range(0, samples, BATCH * BATCHES):
        begin = time.perf_counter_ns()
        for start in range(first, first + BATCH * BATCHES, BATCH):
            dispatcher.issue(_queries(start, streaming, clock))
            for number, chosen in dispatcher.assign(clock.now_ns()).items():
                requests = [Request(s.seq, s.attempt, PROMPT) for s in chosen]
                received[number] += len(requests)
                handler.take(
                    replicas[number], _outputs(requests, streaming, received[number])
                )
        spent = time.perf_counter_ns() - begin
        found.append(spent / (BATCH * BATCHES) / 1000)
        records.kept.clear()
    assert responder.completed == len(found) * BATCH * BATCHES
    return np.sort(found)


def _queries(start: int, streaming: bool, clock: RunClock) -> list[Query]:
    ids = range(start, start + BATCH)
    if streaming:
        return [(clock.now_ns(), [i], [i % ROWS]) for i in ids]
    return [(clock.now_ns(), list(ids), [i % ROWS for i in ids])]


def _outputs(requests: list[Request], streaming: bool, received: int) -> Outputs:
    first = [FirstToken(r.seq, r.attempt, ANSWER[:4]) for r in requests]
    done = [
        Completion(r.seq, r.attempt, ANSWER, "length", 0, 1, 2, 3, 4) for r in requests
    ]
    return Outputs(first if streaming else [], done, [], 0, received)


def main() -> None:
    """Run both cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("samples", type=int, nargs="?", default=400_000)
    samples = parser.parse_args().samples
    gc.freeze()
    gc.set_threshold(100_000)
    for name, streaming in (("server", True), ("offline", False)):
        chunk_us(streaming, 40_000)
        found = chunk_us(streaming, samples)
        least, low, median = np.percentile(found, [0, 5, 50])
        print(f"{name}: least {least:.3f}, p5 {low:.3f}, median {median:.3f} us")


if __name__ == "__main__":
    main()
