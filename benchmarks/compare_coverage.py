"""How often `report compare` is right about two configurations.

    python -m benchmarks.compare_coverage [--campaigns 2000]

Each campaign has runs of two sides whose true ratio is known. The noise of a run is
lognormal; some rows also have a drift that all runs share, or noise with heavy tails.
The intervals, p values and numbers of runs are computed by the report's own code.
Prints a Markdown table.
"""

import argparse
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from report.compare.ratios import POWER, paired, power, runs_for, unpaired

_LEVEL = 0.05
_SMALLEST = float(np.log(1.01))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of campaign."""

    a: int = 3
    b: int = 3
    is_paired: bool = False
    ratio: float = 1.0
    noise_a: float = 0.01
    """Standard deviation from run to run, of the logarithm."""
    noise_b: float = 0.01
    drift: float = 0.0
    """Change of the logarithm from one run to the next, both sides alike."""
    heavy: bool = False
    """Student's t with 4 degrees of freedom in place of the normal distribution."""


ROWS = {
    "3 and 3 runs, equal": Row(),
    "3 and 3 runs, 2% apart": Row(ratio=1.02),
    "3 and 3 pairs, equal": Row(is_paired=True),
    "5 and 5 pairs that drift by 5% in all": Row(
        a=5, b=5, is_paired=True, drift=0.005, ratio=1.01
    ),
    "5 and 5 runs, 5% apart": Row(a=5, b=5, ratio=1.05),
    "2 and 2 runs, equal": Row(a=2, b=2),
    "1 and 4 runs, equal": Row(a=1, b=4),
    "3 and 8 runs, the noise of B twice that of A": Row(b=8, noise_b=0.02),
    "5 and 5 runs, heavy tails": Row(a=5, b=5, heavy=True),
    "10 and 10 runs, noise 5%": Row(a=10, b=10, noise_a=0.05, noise_b=0.05),
}


def values(row: Row, rng: np.random.Generator) -> tuple[list[float], list[float]]:
    """Return the values of the runs of both sides."""

    def noise(count: int, size: float) -> NDArray[np.float64]:
        if row.heavy:
            # The variance of Student's t with 4 degrees of freedom is 2.
            return rng.standard_t(4, count) * size / 2**0.5
        return rng.normal(0, size, count)

    a, b = noise(row.a, row.noise_a), noise(row.b, row.noise_b)
    a += 2 * row.drift * np.arange(row.a)
    b += 2 * row.drift * np.arange(row.b)
    if row.is_paired:
        # Every second pair begins with B, so that the drift cancels out.
        b += row.drift * np.where(np.arange(row.b) % 2, -1, 1)
    return np.exp(a).tolist(), (row.ratio * np.exp(b)).tolist()


def main() -> int:
    """Print the table; return 1 where an interval covers less than it claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=2000, help="of each row")
    count = parser.parse_args().campaigns
    print(
        "| campaign | intervals hold the truth | p < 5% | runs advised for 1% (median)"
        " | advice that truly has 80% power |"
    )
    print("|---|---|---|---|---|")
    short = 0
    for number, (name, row) in enumerate(ROWS.items()):
        rng = np.random.default_rng(number)
        held = found = enough = 0
        advised = []
        for _ in range(count):
            a, b = values(row, rng)
            estimate = (paired if row.is_paired else unpaired)(a, b)
            held += estimate.low <= row.ratio <= estimate.high
            found += estimate.p < _LEVEL
            runs = runs_for(_SMALLEST, estimate, row.is_paired)
            if runs is None:
                continue
            advised.append(runs)
            # The noise that a pair's difference truly has.
            noise = (row.noise_a**2 + row.noise_b**2) ** 0.5
            if row.drift:
                noise = (noise**2 + row.drift**2) ** 0.5
            if not row.is_paired:
                noise /= 2**0.5
            enough += power(_SMALLEST, noise, runs, row.is_paired) >= POWER
        share = held / count
        short += share < 0.95 - 2 * (0.95 * 0.05 / count) ** 0.5
        print(
            f"| {name} | {held} of {count} ({share:.1%}) | {found / count:.1%}"
            f" | {np.median(advised):.0f} | {enough / len(advised):.0%} |",
            flush=True,
        )
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
