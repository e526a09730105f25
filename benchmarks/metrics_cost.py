"""What metrics cost a run: TTFT at a high rate without them, and with a scraper.

    python -m benchmarks.metrics_cost [--rate 20000] [--seconds 10] [--budget 330]

Makes pairs of Server runs of synthetic replicas that answer at once: one run without
metrics, and one with `run.metrics_port` and a scraper at 1 Hz. The order changes from
pair to pair. It starts no pair that would end after the budget, in seconds. Prints a
Markdown table, and the ratio of TTFT p99 in the pairs with its 95% interval.
"""

import argparse
import contextlib
import multiprocessing
import socket
import statistics
import time
import urllib.request
from collections.abc import Iterable, Sequence
from multiprocessing.synchronize import Event

from benchmarks.harness import Case, Outcome, run
from report.compare.ratios import RatioEstimate, paired

PLAIN, SCRAPED = "no metrics", "metrics, scraped at 1 Hz"
_FEWEST_PAIRS = 2


def main() -> None:
    """Make the runs and print what they show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=20_000, help="queries/s")
    parser.add_argument("--seconds", type=int, default=10, help="of arrivals, each run")
    parser.add_argument("--budget", type=float, default=330, help="seconds in all")
    options = parser.parse_args()
    pairs: list[dict[str, Outcome]] = []
    begin, longest, scrapes = time.monotonic(), 0.0, 0
    while len(pairs) < _FEWEST_PAIRS or (
        time.monotonic() - begin + longest < options.budget
    ):
        started = time.monotonic()
        order = (PLAIN, SCRAPED) if len(pairs) % 2 == 0 else (SCRAPED, PLAIN)
        pair = {}
        for kind in order:
            pair[kind], count = _run(kind, options.rate, options.seconds)
            scrapes += count
            print(f"pair {len(pairs) + 1}, {_described(kind, pair[kind])}", flush=True)
        pairs.append(pair)
        longest = max(longest, time.monotonic() - started)
    print(f"\n{as_table(pairs)}\n")
    print(f"{scrapes} scrapes succeeded in {time.monotonic() - begin:.0f} s.")
    for line in conclusion(pairs):
        print(line)


def as_table(pairs: Sequence[dict[str, Outcome]]) -> str:
    """Return a Markdown table with a row for each kind of run: medians."""
    lines = [
        "| run | done/s | TTFT p50, ms | TTFT p99, ms | p99 by pair, ms"
        " | coordinator CPU, us/sample | time lost by a spinning loop before |",
        "|---|---:|---:|---:|---|---:|---|",
    ]
    for kind in (PLAIN, SCRAPED):
        own = [pair[kind] for pair in pairs]
        lines.append(
            f"| {kind} | {_median(o.rate for o in own):,.0f}"
            f" | {_median(o.ttft_p50_ms or 0 for o in own):.2f}"
            f" | {_median(o.ttft_p99_ms or 0 for o in own):.2f}"
            f" | {', '.join(f'{o.ttft_p99_ms or 0:.2f}' for o in own)}"
            f" | {_median(o.coordinator_us for o in own):.1f}"
            f" | {', '.join(f'{o.machine.lost_pct:.0f}%' for o in own)} |"
        )
    return "\n".join(lines)


def conclusion(pairs: Sequence[dict[str, Outcome]]) -> list[str]:
    """Return the ratios with a scraper to without, as lines."""
    lines = []
    for name in ("ttft_p99_ms", "ttft_p50_ms"):
        values = [
            (getattr(pair[PLAIN], name), getattr(pair[SCRAPED], name)) for pair in pairs
        ]
        found = paired([one for one, _ in values], [other for _, other in values])
        lines.append(f"{name}: {_ratio(found, len(pairs))}")
    return lines


def _ratio(found: RatioEstimate, count: int) -> str:
    return (
        f"with a scraper / without = {found.ratio:.3f}"
        f" (95% interval {found.low:.3f} to {found.high:.3f}, {count} pairs)"
    )


def _described(kind: str, outcome: Outcome) -> str:
    return (
        f"{kind}: {outcome.rate:,.0f} done/s, TTFT p50 {outcome.ttft_p50_ms:.2f} ms,"
        f" p99 {outcome.ttft_p99_ms:.2f} ms; machine {outcome.machine.turns_m:.1f}"
        f" M turns/s, {outcome.machine.lost_pct:.0f}% lost"
    )


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _run(kind: str, rate: int, seconds: int) -> tuple[Outcome, int]:
    """Make one run; return it and the number of scrapes that succeeded."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    case = Case(
        name=kind,
        server=True,
        prompts="real",
        samples=rate * seconds,
        target_qps=rate,
        overrides=[] if kind == PLAIN else [f"run.metrics_port={port}"],
    )
    if kind == PLAIN:
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
