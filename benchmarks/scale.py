"""What a sample costs the coordinator, by the number of replicas.

    python -m benchmarks.scale [--replicas 2,64,512] [--seconds 5]

The product's dispatcher, balancer, messages and records over replicas that answer
at once; no sockets, threads and LoadGen. Each replica has 40 samples at any time and
finishes `--rate` of them a second: 65 is an H200 in Offline. Prints microseconds per
sample, and what share of a core they are at that rate. Encoding and decoding of
messages is counted, the replicas' own work is not.
"""

import argparse
import gc
import sys
import time
from collections import deque
from typing import Any

import msgspec
import numpy as np

from sut.balancers import make_balancer
from sut.clock import RunClock
from sut.coordinator.dispatcher import Dispatcher
from sut.coordinator.recorder import RunRecorder
from sut.coordinator.replica import Replica
from sut.coordinator.responses import Batch, ResponseHandler
from sut.wire.messages import Completion, FirstToken, Generate, Outputs, Request

_ROWS = 1000
_OPEN = 40
"""Samples with each replica."""
_PROMPT = bytes(4 * 833)
_ANSWER = bytes(4 * 128)


class _Records:
    """Takes records as `RecordWriter` does, and drops them."""

    failure = None

    def __init__(self) -> None:
        self.kept: deque[Any] = deque(maxlen=1000)
        self.sample = self.event = self.telemetry = self.kept.append


class _Responder:
    def first_tokens(self, batch: Batch) -> None:
        pass

    def complete(self, batch: Batch) -> None:
        pass


class Coordinator:
    """The coordinator's path of a sample, over `count` replicas."""

    def __init__(self, count: int, streaming: bool) -> None:
        """Start with idle replicas."""
        self.clock, self.streaming = RunClock(), streaming
        balancer = make_balancer(None, streaming)
        self.dispatcher = Dispatcher(balancer, [833] * _ROWS, [128] * _ROWS)
        self.handler = ResponseHandler(
            self.dispatcher,
            RunRecorder(_Records(), self.clock),  # type: ignore[arg-type]
            _Responder(),
            self.clock,
            streaming,
            max_attempts=3,
        )
        self.replicas = [Replica(n, f"n{n // 8}", str(n)) for n in range(count)]
        for replica in self.replicas:
            target = None if streaming else _OPEN
            self.dispatcher.add_replica(replica.number, replica.node, target)
        self.received = [0] * count
        self.open: list[deque[tuple[int, int]]] = [deque() for _ in range(count)]
        self.issued, self.spent_ns = 0, 0
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Outputs).decode

    def issue(self, count: int) -> None:
        """Issue samples, and send them."""
        begin = time.perf_counter_ns()
        ids = range(self.issued, self.issued + count)
        rows = [i % _ROWS for i in ids]
        now = self.clock.now_ns()
        if self.streaming:
            self.dispatcher.issue(
                (now, [i], [r]) for i, r in zip(ids, rows, strict=True)
            )
        else:
            self.dispatcher.issue([(now, list(ids), rows)])
        self.issued += count
        sent = self.dispatcher.assign(now)
        for chosen in sent.values():
            self._encode(Generate([Request(s.seq, s.attempt, _PROMPT) for s in chosen]))
        self.spent_ns += time.perf_counter_ns() - begin
        for number, chosen in sent.items():
            self.received[number] += len(chosen)
            self.open[number].extend((s.seq, s.attempt) for s in chosen)

    def answer(self, number: int, count: int) -> int:
        """Let a replica answer its oldest samples; return how many."""
        own = self.open[number]
        ended = [own.popleft() for _ in range(min(count, len(own)))]
        if not ended:
            return 0
        first = [FirstToken(q, a, _ANSWER[:4]) for q, a in ended]
        done = [Completion(q, a, _ANSWER, "length", 0, 1, 2, 3, 4) for q, a in ended]
        # Its queue is full but for these.
        left, received = _OPEN - len(ended), self.received[number]
        text = self._encode(
            Outputs(first if self.streaming else [], done, [], left, received)
        )
        begin = time.perf_counter_ns()
        self.handler.take(self.replicas[number], self._decode(text))
        self.spent_ns += time.perf_counter_ns() - begin
        return len(ended)


def cost_us(count: int, streaming: bool, seconds: float, rate: float) -> np.ndarray:
    """Return microseconds per sample of groups of turns, ascending.

    In each turn of a millisecond, as many samples end and come as at a rate of `rate`
    samples/s of each replica: a message of one sample each.

    Args:
        count: replicas.
        streaming: Server; else Offline.
        seconds: to measure for.
        rate: samples/s of one replica.
    """
    coordinator = Coordinator(count, streaming)
    coordinator.issue(_OPEN * count)
    turn = max(1, round(rate * count / 1000))
    found: list[float] = []
    number = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(found) < 20:
        before, done = coordinator.spent_ns, 0
        for _ in range(8):
            answered = 0
            for _ in range(turn):
                number = (number + 1) % count
                answered += coordinator.answer(number, 1)
            coordinator.issue(answered)
            done += answered
        found.append((coordinator.spent_ns - before) / 1000 / max(1, done))
    return np.sort(found)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", default="1,8,64,256,512")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=65.0)
    options = parser.parse_args()
    gc.freeze()
    gc.set_threshold(100_000)
    print("| scenario | replicas | samples/s | least, us | median, us | of a core |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, streaming in (("Offline", False), ("Server", True)):
        for count in map(int, options.replicas.split(",")):
            found = cost_us(count, streaming, options.seconds, options.rate)
            least, median = float(found[0]), float(np.median(found))
            print(
                f"| {name} | {count} | {options.rate * count:,.0f} | {least:.2f} |"
                f" {median:.2f} | {options.rate * count * least / 1e6:.0%} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
