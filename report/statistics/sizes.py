"""Runs of a campaign by number of replicas, and what each size reached."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from report.reading.run import Run
from report.statistics.busy import busy_s
from report.statistics.numbers import known
from report.statistics.rates import arrived_per_s, counted, left_open, paced

CONFIDENCE = 0.95
_UNEQUAL = 0.05
METHOD = (
    "95% interval of the ratio of geometric means: Welch's t over the logarithms of"
    " repeated runs; none where a size has one run, or where replicas had different"
    " numbers of samples in runs that end by drain (Offline); Server: made wider by"
    " what the search left open, the lowest higher rate that failed over the one that"
    " counts, of either size; repeats share one draw of arrivals, whose luck is not in"
    " it"
)


@dataclass(slots=True, kw_only=True)
class Metric:
    """One measure of a run that scaling is judged by."""

    name: str
    unit: str
    definition: str
    of: Callable[[Run], float]
    grows: bool
    """Whether N replicas should reach N times it, or the same (latency)."""
    main: bool = False
    """Whether a campaign is about this one."""


@dataclass(slots=True, kw_only=True)
class Reached:
    """What one size reached in one metric."""

    size: int
    values: list[float]
    """One per run."""
    log_mean: float
    error: float
    """Standard error of `log_mean`; NaN where it cannot be told."""
    freedom: float
    left_open: float = 1.0
    """Factor by which it may be higher; NaN where no search has shown an end."""
    samples_per_replica: float | None = None
    """Mean over runs, where it decides how long a run lasts (Offline)."""

    @property
    def value(self) -> float:
        """Geometric mean over runs."""
        return float(np.exp(self.log_mean))


@dataclass(slots=True, kw_only=True)
class Ratio:
    """One size against another, or against what it should reach."""

    value: float
    low: float
    high: float
    """Ends of the 95% interval; NaN where it cannot be told."""


@dataclass(slots=True, kw_only=True)
class Scaled:
    """One size in one metric, against the baseline."""

    metric: Metric
    size: int
    own: Reached | None
    """None: no run of this size counts."""
    base: Reached | None
    """What one replica reached; None where no such run is given."""
    efficiency: Ratio | None
    """Actual / theoretical; latency: single / actual."""

    @property
    def theoretical(self) -> float | None:
        """What the size should reach."""
        if self.base is None:
            return None
        return self.base.value * (self.size if self.metric.grows else 1)

    @property
    def word(self) -> str:
        """How it stands to the theoretical value."""
        if self.own is None:
            return "no run counts"
        if self.efficiency is None:
            return "no baseline"
        if self.size == 1:
            return "baseline"
        if self.efficiency.low > 1:
            return "super-linear" if self.metric.grows else "faster"
        if self.efficiency.high < 1:
            return "sub-linear" if self.metric.grows else "slower"
        if np.isnan([self.efficiency.low, self.efficiency.high]).any():
            return "interval not known"
        return "linear within noise" if self.metric.grows else "equal within noise"


def scaled(runs: Sequence[Run]) -> list[Scaled]:
    """Return every size of `runs` in every metric that suits them."""
    sizes = by_size(runs)
    rows = []
    for metric in metrics(runs):
        base = reached(1, sizes[1], metric) if 1 in sizes else None
        for size, own_runs in sizes.items():
            own = base if size == 1 else reached(size, own_runs, metric)
            rows.append(
                Scaled(
                    metric=metric,
                    size=size,
                    own=own,
                    base=base,
                    efficiency=_efficiency(own, base, metric),
                )
            )
    return rows


def _efficiency(
    own: Reached | None, base: Reached | None, metric: Metric
) -> Ratio | None:
    if own is None or base is None:
        return None
    if not metric.grows:
        return against(base, own, 1)
    ratio = against(own, base, own.size)
    if own is not base:
        ratio.low /= base.left_open
        ratio.high *= own.left_open
    return ratio


def metrics(runs: Sequence[Run]) -> list[Metric]:
    """Return the metrics that suit the scenario of `runs`."""
    found = [
        Metric(
            name="samples/s",
            unit="samples/s",
            definition="completed samples / first issue to last completion",
            of=lambda run: run.samples_per_s,
            grows=True,
            main=True,
        ),
        Metric(
            name="tokens/s",
            unit="tokens/s",
            definition="output tokens of completed samples / the same seconds",
            of=lambda run: run.tokens_per_s,
            grows=True,
        ),
    ]
    if paced(list(runs)):
        found[0].main = False
        found.insert(0, _arrivals())
    if all(run.settings.loadgen_scenario == "SingleStream" for run in runs):
        # One query at a time: more replicas cannot add to it.
        found = []
    if all(run.streaming for run in runs):
        found.append(
            Metric(
                name="latency",
                unit="ms",
                definition="mean service latency (dispatch to completion)",
                of=lambda run: _mean_ms(run),
                grows=False,
            )
        )
    return found


def _arrivals() -> Metric:
    return Metric(
        name="queries/s",
        unit="queries/s",
        definition="queries that came / first to last arrival, where limits were kept",
        of=arrived_per_s,
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


def reached(size: int, runs: list[Run], metric: Metric) -> Reached | None:
    """Return what the runs of one size reached; None where nothing counts."""
    values = [value for run in counted(runs) if (value := metric.of(run)) > 0]
    if not values:
        return None
    found = of_values(size, values)
    found.left_open = left_open(runs) if metric.grows else 1.0
    if not paced(runs) and metric.grows:
        samples = [len(run.samples) / size for run in counted(runs)]
        found.samples_per_replica = float(np.mean(samples))
    return found


def of_values(size: int, values: list[float]) -> Reached:
    """Return what repeated runs of a size reached; one run shows no error."""
    logs = np.log(values)
    many = len(values) > 1
    return Reached(
        size=size,
        values=values,
        log_mean=float(logs.mean()),
        error=float(logs.std(ddof=1)) / len(values) ** 0.5 if many else np.nan,
        freedom=len(values) - 1.0,
    )


def against(own: Reached, base: Reached, expected: float) -> Ratio:
    """Return own / (expected x base) with its interval.

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


def _equal_length(own: Reached, base: Reached) -> bool:
    """Return whether the runs of two sizes pay equally much for their ends.

    An Offline run has idle replicas while its last samples finish. With fewer samples
    for each replica that weighs more: the ratio of the sizes is then biased.
    """
    if own.samples_per_replica is None or base.samples_per_replica is None:
        return True
    return abs(own.samples_per_replica / base.samples_per_replica - 1) < _UNEQUAL


def work_parts(runs: list[Run]) -> tuple[float, float] | None:
    """Return the share of the run with work, and tokens/s of a replica while it had.

    Means over runs and replicas; None where nothing was done.
    """
    shares, speeds = [], []
    for run in runs:
        busy = [busy_s(own) for own in run.by_replica.values()]
        tokens = float(run.done.output_tokens.sum())
        if run.wall_s and sum(busy):
            shares.append(sum(busy) / (run.wall_s * run.size))
            speeds.append(tokens / sum(busy))
    return (float(np.mean(shares)), float(np.mean(speeds))) if shares else None
