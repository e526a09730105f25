"""What metrics cost a run: TTFT at a high rate without them, with them, and scraped.

    python -m benchmarks.metrics_cost [--rate 20000] [--seconds 15] [--rounds 3]

Each round makes one run of every kind, in another order, so that a bad minute of the
machine does not hit one kind alone. Prints a Markdown table with the ratio to the runs
without metrics of the same rounds.
"""

import argparse
import contextlib
import multiprocessing
import random
import socket
import statistics
import time
import urllib.request
from collections.abc import Iterable
from multiprocessing.synchronize import Event

from benchmarks.harness import Case, Outcome, run

KINDS = ("no metrics", "metrics, no scraper", "metrics, scraped at 1 Hz")


def main() -> None:
    """Make the runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[Outcome]] = {kind: [] for kind in KINDS}
    scrapes = 0
    for number in range(options.rounds):
        order = list(KINDS)
        random.Random(number).shuffle(order)
        for kind in order:
            outcome, count = _run(kind, options.rate, options.seconds)
            found[kind].append(outcome)
            scrapes += count
            print(f"round {number + 1}, {kind}: p99 {outcome.ttft_p99_ms:.2f} ms")
    print(
        "\n| run | done/s | TTFT p50, ms | TTFT p99, ms | ratio of p99 by round"
        " | coordinator CPU, us/sample |\n|---|---:|---:|---:|---|---:|"
    )
    plain = found[KINDS[0]]
    for kind, outcomes in found.items():
        ratios = [
            (one.ttft_p99_ms or 0) / (base.ttft_p99_ms or 1)
            for one, base in zip(outcomes, plain, strict=True)
        ]
        print(
            f"| {kind} | {_median(o.rate for o in outcomes):,.0f}"
            f" | {_median(o.ttft_p50_ms or 0 for o in outcomes):.2f}"
            f" | {_median(o.ttft_p99_ms or 0 for o in outcomes):.2f}"
            f" | {', '.join(f'{ratio:.2f}' for ratio in ratios)}"
            f" | {_median(o.coordinator_us for o in outcomes):.1f} |"
        )
    print(f"\n{scrapes} scrapes succeeded; machine, M turns/s and share lost by run:")
    for kind, outcomes in found.items():
        spins = [
            f"{o.machine.turns_m:.1f} ({o.machine.lost_pct:.0f}%)" for o in outcomes
        ]
        print(f"{kind}: {', '.join(spins)}")


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _run(kind: str, rate: int, seconds: int) -> tuple[Outcome, int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    overrides = [] if kind == KINDS[0] else [f"run.metrics_port={port}"]
    case = Case(
        name=kind,
        server=True,
        prompts="real",
        samples=rate * seconds,
        target_qps=rate,
        overrides=overrides,
    )
    if kind != KINDS[2]:
        return run(case), 0
    stop, count = multiprocessing.Event(), multiprocessing.Value("i", 0)
    scraper = multiprocessing.Process(
        target=_scrape, args=(port, stop, count), daemon=True
    )
    scraper.start()
    outcome = run(case)
    stop.set()
    scraper.join()
    return outcome, int(count.value)


def _scrape(
    port: int, stop: Event, count: "multiprocessing.sharedctypes.Synchronized[int]"
) -> None:
    while not stop.wait(max(0.0, 1.0 - time.time() % 1.0)):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()
            count.value += 1
        time.sleep(0.01)


if __name__ == "__main__":
    main()
