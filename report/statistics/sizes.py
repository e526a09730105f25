"""Results of each number of replicas in a campaign, and their ratio to one replica."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from report.reading.run import Run
from report.statistics.busy import busy_s
from report.statistics.numbers import known
from report.statistics.rates import (
    arrived_per_s,
    is_server,
    rate_upper_bound,
    representative_runs,
)
from report.statistics.usl import FEWEST_SIZES, Fit, fit

CONFIDENCE = 0.95
_UNEQUAL = 0.05
METHOD = (
    "95% confidence interval of the ratio of geometric means, by Welch's t over the"
    " logarithms of repeated runs. There is no interval if a size has one run, or if"
    " replicas of two sizes had different numbers of samples in Offline runs, which end"
    " with a drain. For Server the interval also covers the gap of the search: the"
    " lowest rate that failed / the rate that was found, of either size. Repeated runs"
    " share one draw of arrivals; the interval does not cover the luck of that draw."
)


@dataclass(slots=True, kw_only=True)
class Metric:
    """One measure by which scaling is judged."""

    name: str
    unit: str
    definition: str
    value: Callable[[Run], float]
    grows: bool
    """Whether N replicas should reach N times the value, or the same (latency)."""
    main: bool = False
    """Whether this is the campaign's own metric."""


@dataclass(slots=True, kw_only=True)
class SizeResult:
    """Result of one size in one metric."""

    size: int
    values: list[float]
    """One value per run."""
    log_mean: float
    error: float
    """Standard error of `log_mean`; NaN for a single run."""
    freedom: float
    rate_upper_bound: float = 1.0
    """Upper bound as a factor of the value; NaN if the search found no bound."""
    samples_per_replica: float | None = None
    """Mean over runs, if it decides how long a run lasts (Offline)."""

    @property
    def value(self) -> float:
        """Geometric mean over runs."""
        return float(np.exp(self.log_mean))


@dataclass(slots=True, kw_only=True)
class Ratio:
    """Ratio of two results."""

    value: float
    low: float
    high: float
    """Upper end of the 95% interval, `low` the lower one; NaN if unknown."""


@dataclass(slots=True, kw_only=True)
class SizeScaling:
    """One size in one metric, compared with the baseline."""

    metric: Metric
    size: int
    own: SizeResult | None
    """None: no run of this size gives a result."""
    base: SizeResult | None
    """Result of one replica; None if no such run is given."""
    efficiency: Ratio | None
    """Actual / theoretical; latency: single / actual."""

    @property
    def theoretical(self) -> float | None:
        """Value under linear scaling; None without a baseline."""
        if self.base is None:
            return None
        return self.base.value * (self.size if self.metric.grows else 1)

    @property
    def verdict(self) -> str:
        """Comparison of the result with linear scaling, in words."""
        if self.own is None:
            return "no valid run"
        if self.efficiency is None:
            return "no baseline"
        if self.size == 1:
            return "baseline"
        if self.efficiency.low > 1:
            return "super-linear" if self.metric.grows else "faster"
        if self.efficiency.high < 1:
            return "sub-linear" if self.metric.grows else "slower"
        if np.isnan([self.efficiency.low, self.efficiency.high]).any():
            return "interval unknown"
        return "linear within noise" if self.metric.grows else "equal within noise"


def scaling_by_size(runs: Sequence[Run]) -> list[SizeScaling]:
    """Return every size of `runs` in every metric that suits their scenario."""
    sizes = by_size(runs)
    rows = []
    for metric in metrics(runs):
        base = size_result(1, sizes[1], metric) if 1 in sizes else None
        for size, own_runs in sizes.items():
            own = base if size == 1 else size_result(size, own_runs, metric)
            rows.append(
                SizeScaling(
                    metric=metric,
                    size=size,
                    own=own,
                    base=base,
                    efficiency=_efficiency(own, base, metric),
                )
            )
    return rows


def _efficiency(
    own: SizeResult | None, base: SizeResult | None, metric: Metric
) -> Ratio | None:
    if own is None or base is None:
        return None
    if not metric.grows:
        return ratio_to_baseline(base, own, 1)
    ratio = ratio_to_baseline(own, base, own.size)
    if own is not base:
        ratio.low /= base.rate_upper_bound
        ratio.high *= own.rate_upper_bound
    return ratio


def metrics(runs: Sequence[Run]) -> list[Metric]:
    """Return the metrics that suit the scenario of `runs`."""
    found = [
        Metric(
            name="samples/s",
            unit="samples/s",
            definition="completed samples / first issue to last completion",
            value=lambda run: run.samples_per_s,
            grows=True,
            main=True,
        ),
        Metric(
            name="tokens/s",
            unit="tokens/s",
            definition="output tokens of completed samples / the same seconds",
            value=lambda run: run.tokens_per_s,
            grows=True,
        ),
    ]
    if is_server(list(runs)):
        found[0].main = False
        found.insert(0, _arrivals())
    if all(run.settings.loadgen_scenario == "SingleStream" for run in runs):
        # One query at a time: more replicas cannot add throughput.
        found = []
    if all(run.streaming or run.offline for run in runs):
        found.append(
            Metric(
                name="latency",
                unit="ms",
                definition="mean service latency (dispatch to completion)",
                value=_mean_ms,
                grows=False,
            )
        )
    return found


def _arrivals() -> Metric:
    return Metric(
        name="queries/s",
        unit="queries/s",
        definition="queries / first to last arrival, in runs that met the limits",
        value=arrived_per_s,
        grows=True,
        main=True,
    )


def _mean_ms(run: Run) -> float:
    service = known(run.done.service_ns)
    return float(service.mean()) / 1e6 if len(service) else 0.0


def by_size(runs: Sequence[Run]) -> dict[int, list[Run]]:
    """Return the runs of each size, smallest first."""
    sizes = sorted({run.size for run in runs if run.size})
    return {size: [run for run in runs if run.size == size] for size in sizes}


def size_result(size: int, runs: list[Run], metric: Metric) -> SizeResult | None:
    """Return the result of the runs of one size; None if no run gives one."""
    values = [
        value for run in representative_runs(runs) if (value := metric.value(run)) > 0
    ]
    if not values:
        return None
    found = result_of_values(size, values)
    found.rate_upper_bound = rate_upper_bound(runs) if metric.grows else 1.0
    if not is_server(runs) and metric.grows:
        samples = [len(run.samples) / size for run in representative_runs(runs)]
        found.samples_per_replica = float(np.mean(samples))
    return found


def result_of_values(size: int, values: list[float]) -> SizeResult:
    """Return the result of repeated runs; a single run has no known error."""
    logs = np.log(values)
    many = len(values) > 1
    return SizeResult(
        size=size,
        values=values,
        log_mean=float(logs.mean()),
        error=float(logs.std(ddof=1)) / len(values) ** 0.5 if many else np.nan,
        freedom=len(values) - 1.0,
    )


def ratio_to_baseline(own: SizeResult, base: SizeResult, expected: float) -> Ratio:
    """Return own / (expected x base) with its 95% interval.

    Source of the degrees of freedom: Welch-Satterthwaite.
    """
    difference = own.log_mean - base.log_mean - float(np.log(expected))
    if own.size == base.size:
        return Ratio(value=1.0, low=1.0, high=1.0)
    variance = own.error**2 + base.error**2
    if np.isnan(variance) or not _equal_length(own, base):
        return Ratio(value=float(np.exp(difference)), low=np.nan, high=np.nan)
    parts = own.error**4 / own.freedom + base.error**4 / base.freedom
    freedom = variance**2 / parts if parts else own.freedom + base.freedom
    half = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * variance**0.5
    low, value, high = np.exp([difference - half, difference, difference + half])
    return Ratio(value=float(value), low=float(low), high=float(high))


def _equal_length(own: SizeResult, base: SizeResult) -> bool:
    """Return whether the drain weighs equally much in the runs of two sizes.

    Replicas of an Offline run are idle while its last samples finish. With fewer
    samples for each replica the drain weighs more, and the ratio is biased.
    """
    if own.samples_per_replica is None or base.samples_per_replica is None:
        return True
    return abs(own.samples_per_replica / base.samples_per_replica - 1) < _UNEQUAL


def work_parts(runs: list[Run]) -> tuple[float, float] | None:
    """Return the share of time with work, and tokens/s of a replica during that time.

    Both are means over runs and replicas; None if nothing was completed.
    """
    shares, speeds = [], []
    for run in runs:
        busy = [busy_s(own) for own in run.by_replica.values()]
        tokens = float(run.done.output_tokens.sum())
        if run.wall_s and sum(busy):
            shares.append(sum(busy) / (run.wall_s * run.size))
            speeds.append(tokens / sum(busy))
    return (float(np.mean(shares)), float(np.mean(speeds))) if shares else None


def main_metric(rows: list[SizeScaling]) -> str:
    """Return the name of the campaign's own metric; empty if there is none."""
    return next((row.metric.name for row in rows if row.metric.main), "")


def fitted_law(rows: list[SizeScaling]) -> Fit | None:
    """Return the law fitted to the main metric; None below `FEWEST_SIZES` sizes."""
    # A searched rate lies between the rate that was kept and its upper bound.
    points = [
        (float(row.size), value * end)
        for row in rows
        if row.own is not None and row.metric.main
        for value in row.own.values
        for end in {1.0, row.own.rate_upper_bound}
        if np.isfinite(end)
    ]
    sizes = {size for size, _ in points}
    if len(sizes) < FEWEST_SIZES:
        return None
    counts, values = np.array(points).T
    largest = int(counts.max())
    return fit(counts, values, [2 * largest, 4 * largest])
