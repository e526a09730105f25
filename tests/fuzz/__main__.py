"""`python -m tests.fuzz --minutes 20 [--seed N] [--only NAME]`: fuzz for a long time.

Prints each failure with the input that causes it, and how many cases each
target has run. Exit code 1: something failed.
"""

import argparse
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.fuzz.target import Finding
from tests.fuzz.targets import all_targets

_MEMORY_BYTES = 12 << 30
"""What damaged input makes a reader ask for beyond this fails as MemoryError."""
_TURN_S = 0.5
"""Time of one target before the next one has its turn."""
_FAILURES = 3
"""Of one target; after them it is left out."""


def main() -> int:
    """Fuzz until the time is over; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="part of the names of targets")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    cases, failures = Counter[str](), Counter[str]()
    end = time.monotonic() + 60 * options.minutes
    seed = options.seed
    # Files in memory: many times the cases.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.exists() else None) as folder:
        targets = [t for t in all_targets(Path(folder)) if options.only in t.name]
        while time.monotonic() < end:
            for target in targets:
                if failures[target.name] >= _FAILURES or time.monotonic() >= end:
                    continue
                turn = time.monotonic() + _TURN_S
                try:
                    cases[target.name] += target.try_out(
                        seed,
                        lambda _, turn=turn: time.monotonic() > turn,  # type: ignore[misc]
                    )
                except Finding:
                    failures[target.name] += 1
                    print(f"FAILED: {target.name}, seed {seed}", flush=True)
                    traceback.print_exc(file=sys.stdout)
            seed += 1
    print(f"\n{'target':50} {'cases':>10} {'failures':>8}")
    for target in targets:
        print(f"{target.name:50} {cases[target.name]:10,} {failures[target.name]:8}")
    print(f"{'all':50} {cases.total():10,} {failures.total():8}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
