"""How often the report's other 95% intervals hold the truth, as a Markdown table.

    python -m benchmarks.interval_coverage [--campaigns 2000]

The interval of the sustained rate is that of a mean of correlated bins
(`report.statistics.noise.mean_interval`): bins of counts whose noise is autoregressive.
The Universal Scalability Law is fitted to three runs of each of four sizes with known
parameters. Scaling efficiency and comparisons of two configurations have benchmarks of
their own (`scaling_coverage`, `compare_coverage`).
"""

import argparse

import numpy as np

from report.statistics.noise import mean_interval
from report.statistics.usl import fit, law

_SIZES = np.repeat([1.0, 2.0, 4.0, 8.0], 3)


def sustained(campaigns: int, bins: int, memory: float) -> int:
    """Return how many intervals of the mean of `bins` bins hold the true mean.

    Args:
        campaigns: series to make.
        bins: of each series.
        memory: lag-1 autocorrelation of the noise.
    """
    held = 0
    for seed in range(campaigns):
        draw = np.random.default_rng([seed, bins, int(100 * memory)])
        noise = draw.normal(0, (1 - memory**2) ** 0.5, bins + 50)
        series = np.zeros(bins + 50)
        for place in range(1, bins + 50):
            series[place] = memory * series[place - 1] + noise[place]
        low, high = mean_interval(55 + 7 * series[50:])
        held += low <= 55 <= high
    return held


def scalability(campaigns: int, noise: float) -> tuple[int, int]:
    """Return how many intervals hold the true sigma, and the true rate of 16 replicas.

    Args:
        campaigns: series of runs to make.
        noise: standard deviation of a run, of the logarithm.
    """
    truth = np.array([60.0, 0.02, 3e-4])
    ahead = float(law(np.array([16.0]), truth)[0])
    sigmas = rates = 0
    for seed in range(campaigns):
        draw = np.random.default_rng([seed, int(1e4 * noise)])
        runs = law(_SIZES, truth) * np.exp(draw.normal(0, noise, len(_SIZES)))
        found = fit(_SIZES, runs, [16])
        sigmas += found.sigma.low <= truth[1] <= found.sigma.high
        rates += found.forecasts[16].low <= ahead <= found.forecasts[16].high
    return sigmas, rates


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=2000)
    parser.add_argument("--fits", type=int, default=200, help="campaigns of the law")
    options = parser.parse_args()
    print("| interval | campaigns | hold the truth |\n|---|---|---|")
    for bins, memory in ((30, 0.0), (100, 0.0), (100, 0.3), (300, 0.3), (300, 0.6)):
        held = sustained(options.campaigns, bins, memory)
        share = held / options.campaigns
        print(
            f"| sustained rate, {bins} bins, autocorrelation {memory} |"
            f" {options.campaigns:,} | {share:.1%} |",
            flush=True,
        )
    for noise in (0.005, 0.02):
        names = ("law, sigma", "law, forecast of twice the largest size")
        for name, held in zip(names, scalability(options.fits, noise), strict=True):
            print(
                f"| {name}, noise {noise:.1%} | {options.fits:,} |"
                f" {held / options.fits:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
