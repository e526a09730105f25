"""Counts how often the report names a planted cause, and how often it raises alarms.

`python benchmarks/report_findings.py [--seeds 20] [--even 50] [--equal 200]` prints
the tables of docs/report.md.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.planted_causes import (
    CASES,
    EQUAL,
    EVEN,
    called_uneven,
    findings_of,
    hit,
    strays,
)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--even", type=int, default=50)
    parser.add_argument("--equal", type=int, default=200)
    options = parser.parse_args()
    begin = time.monotonic()
    print("| planted | finding | right cause and place | other findings |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            hits, others = 0, Counter[str]()
            for seed in range(options.seeds):
                path = Path(folder) / f"{case.name}-{seed}"
                found = findings_of(case.make(), seed, path)
                hits += hit(case, found)
                others.update(
                    f"{f.code} ({', '.join(f.where)})" for f in strays(case, found)
                )
            rest = "; ".join(f"{name}: {n}" for name, n in others.items()) or "none"
            print(
                f"| {case.name} | `{case.code}` | {hits} of {options.seeds} | {rest} |",
                flush=True,
            )
        print("\n| even cluster | runs | with a finding |")
        print("|---|---|---|")
        for cluster in EVEN:
            others, alarms = Counter[str](), 0
            # Large ones take a hundred times as long to simulate.
            runs = max(1, options.even // (10 if cluster.replicas > 8 else 2))
            for seed in range(runs):
                path = Path(folder) / f"{cluster.scenario}-{cluster.replicas}-{seed}"
                found = findings_of(cluster, 1000 + seed, path)
                alarms += bool(found)
                others.update(f.code for f in found)
            print(
                f"| {cluster.replicas} replicas, {cluster.scenario} | {runs} |"
                f" {alarms}{' ' + str(dict(others)) if others else ''} |",
                flush=True,
            )
        print("\n| exactly equal devices | runs | called uneven |")
        print("|---|---|---|")
        for cluster in EQUAL:
            uneven = Counter[str]()
            alarms = 0
            for seed in range(options.equal):
                path = Path(folder) / f"equal-{cluster.scenario}-{seed}"
                path = path.with_name(f"{path.name}-{cluster.replicas}")
                rows = called_uneven(cluster, 5000 + seed, path)
                alarms += bool(rows)
                uneven.update(rows)
            print(
                f"| {cluster.replicas} replicas, {cluster.scenario} | {options.equal} |"
                f" {alarms}{' ' + str(dict(uneven)) if uneven else ''} |",
                flush=True,
            )
    print(f"\n{time.monotonic() - begin:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
