"""How often the report's 95% interval of efficiency holds the true efficiency.

    python -m benchmarks.scaling_coverage [--campaigns 400]

Simulated Offline campaigns of one replica against several, the true efficiency
planted. Each replica has 48 slots. A slot takes the next sample when it is free, so a
run ends by a drain. Answers have 128 tokens, one in ten of them fewer. A factor on
every step varies from run to run. The interval is computed by the report's own code.
Prints a Markdown table.
"""

import argparse
import heapq
import sys
from dataclasses import dataclass

import numpy as np

from report.statistics.sizes import ratio_to_baseline, result_of_values

TRUE = 0.965
_SLOTS = 48
_STEP_S = 0.06
_TOKENS = 128
_SHARE_SHORT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of campaign."""

    replicas: int = 2
    runs: int = 3
    samples: int = 390
    """For each replica of the larger size; 390 last a minute."""
    baseline_samples: int = 390
    noise: float = 0.004
    """Standard deviation from run to run, of the logarithm of a step."""


ROWS = {
    "3 runs of a minute": Row(),
    "3 runs of 20 s": Row(samples=130, baseline_samples=130),
    "3 runs of a minute, noise 1.5%": Row(noise=0.015),
    "3 runs of a minute, no noise": Row(noise=0.0),
    "3 runs of a minute, 4 replicas": Row(replicas=4),
    "5 runs of a minute": Row(runs=5),
    "3 runs, equal total (half a minute each)": Row(samples=195),
    "1 run of a minute": Row(runs=1),
}


def samples_per_s(replicas: int, each: int, step_s: float, seed: int) -> float:
    """Return the throughput of one simulated run."""
    rng = np.random.default_rng(seed)
    count = each * replicas
    short = rng.random(count) < _SHARE_SHORT
    tokens = np.where(short, rng.integers(40, _TOKENS, count), _TOKENS)
    free = [0.0] * min(count, _SLOTS * replicas)
    for seconds in (tokens * step_s).tolist():
        heapq.heapreplace(free, free[0] + seconds)
    return count / max(free)


def coverage(row: Row, campaigns: int) -> tuple[int, int, int, float]:
    """Return how many intervals there were, misses below and above, and the bias."""
    given = below = above = 0
    ratios = []
    for number in range(campaigns):
        rng = np.random.default_rng(number)
        steps = _STEP_S * np.exp(rng.normal(0, row.noise, (2, row.runs)))
        seeds = rng.integers(0, 2**31, (2, row.runs))
        reached = []
        for place, (size, each, factor) in enumerate(
            ((1, row.baseline_samples, 1.0), (row.replicas, row.samples, 1 / TRUE))
        ):
            values = [
                samples_per_s(size, each, float(step) * factor, int(seed))
                for step, seed in zip(steps[place], seeds[place], strict=True)
            ]
            found = result_of_values(size, values)
            found.samples_per_replica = each
            reached.append(found)
        ratio = ratio_to_baseline(reached[1], reached[0], row.replicas)
        ratios.append(ratio.value)
        if np.isfinite([ratio.low, ratio.high]).all():
            given += 1
            below += ratio.high < TRUE
            above += ratio.low > TRUE
    return given, below, above, float(np.mean(ratios)) - TRUE


def main() -> int:
    """Print the table; return 1 where an interval covers less than it claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=400, help="of each row")
    count = parser.parse_args().campaigns
    print("| campaign | intervals | hold the truth | truth above, below | bias |")
    print("|---|---|---|---|---|")
    short = 0
    for name, row in ROWS.items():
        given, below, above, bias = coverage(row, count)
        held = given - below - above
        # Two standard deviations of a share of 95% in so many campaigns.
        short += given > 0 and held / given < 0.95 - 2 * (0.95 * 0.05 / given) ** 0.5
        share = f"{held} ({held / given:.1%})" if given else "none is given"
        print(
            f"| {name} | {given} | {share} | {below}, {above}"
            f" | {100 * bias:+.2f} points |",
            flush=True,
        )
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
