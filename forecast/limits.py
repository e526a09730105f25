"""Latency limits of a run, and how far a run is from each of them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrik

from base.benchmark import EARLY_STOPPING_CONFIDENCE

Array = NDArray[np.float64]
Metric = Literal["ttft", "tpot", "e2e"]


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on a percentile."""

    metric: Metric
    seconds: float
    share: float
    """0.99: 99% of the samples must not be above it."""

    @property
    def name(self) -> str:
        """E.g. "TTFT p99"."""
        return f"{self.metric.upper()} p{100 * self.share:g}"

    def over_allowed(self, samples: int) -> int:
        """Return how many of so many samples may be above it.

        LoadGen's percentile is the element floor(samples x share) in order.
        """
        return max(0, samples - int(samples * self.share) - 1)


@dataclass(frozen=True, slots=True)
class Goodput:
    """A share of samples that must keep several limits at once."""

    share: float
    limits: tuple[tuple[Metric, float], ...]
    """Metric and limit in s."""

    def over_allowed(self, samples: int) -> int:
        """Return how many of so many samples may miss a limit."""
        return int(samples * (1 - self.share) + 1e-9)


@dataclass(frozen=True, slots=True)
class LimitState:
    """Where a run is with one limit."""

    name: str
    value: float
    limit: float
    unit: str
    load: float
    """How much of the limit is used: 1 is at the limit, above 1 is missed."""

    @property
    def headroom(self) -> float:
        """Share of the limit that is left; negative: it is missed."""
        return 1 - self.load


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What limits are judged by; shape (samples,) each, times in s."""

    issued: Array
    first: Array | None
    """First token; None: not streamed."""
    done: Array
    tokens: Array

    def after(self, count: int) -> "Samples":
        """Return all but the first `count` samples."""
        return Samples(
            issued=self.issued[count:],
            first=None if self.first is None else self.first[count:],
            done=self.done[count:],
            tokens=self.tokens[count:],
        )

    def latencies(self, metric: Metric) -> Array:
        """Return TTFT, TPOT or E2E of each sample in s; NaN where there is none."""
        if metric == "e2e":
            return self.done - self.issued
        if self.first is None:
            return np.full(len(self.done), np.nan)
        if metric == "ttft":
            return self.first - self.issued
        rest = np.where(self.tokens > 1, self.tokens - 1, np.nan)
        return np.asarray((self.done - self.first) / rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All limits of a run; None or empty: there is none."""

    ttft_s: float | None
    tpot_s: float | None
    percentile: float
    """Of both."""
    early_stopping: bool = False
    """Whether LoadGen's early stopping judges these two: it asks for a margin."""
    more: tuple[Limit, ...] = ()
    goodput: Goodput | None = None

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return bool(self.percentiles or self.goodput)

    @property
    def percentiles(self) -> list[Limit]:
        """All limits on percentiles."""
        pairs: list[tuple[Metric, float | None]]
        pairs = [("ttft", self.ttft_s), ("tpot", self.tpot_s)]
        own = [Limit(m, s, self.percentile) for m, s in pairs if s is not None]
        return [*own, *self.more]

    def judge(self, samples: Samples) -> list[LimitState]:
        """Return the state of each limit."""
        return [*self._by_percentile(samples), *self._by_goodput(samples)]

    def broken(self, samples: Samples) -> bool:
        """Return whether the run misses a limit."""
        return any(state.load > 1 for state in self.judge(samples))

    def _by_percentile(self, samples: Samples) -> Iterator[LimitState]:
        official = len(self.percentiles) - len(self.more)
        for number, limit in enumerate(self.percentiles):
            values = samples.latencies(limit.metric)
            values = np.sort(values[~np.isnan(values)])
            if not len(values):
                continue
            over = limit.over_allowed(len(values))
            if self.early_stopping and number < official:
                over = early_stopping_allows(len(values), limit.share)
            # Where early stopping allows none, the run has too few samples.
            value = float(values[len(values) - 1 - over]) if over >= 0 else np.inf
            yield LimitState(
                limit.name,
                1000 * value,
                1000 * limit.seconds,
                "ms",
                value / limit.seconds,
            )

    def _by_goodput(self, samples: Samples) -> Iterator[LimitState]:
        if self.goodput is None:
            return
        good = good_samples(samples, self.goodput.limits)
        share = float(good.mean())
        yield LimitState(
            "good queries",
            100 * share,
            100 * self.goodput.share,
            "%",
            round((1 - share) / (1 - self.goodput.share), 9),
        )


def good_samples(
    samples: Samples, limits: tuple[tuple[Metric, float], ...]
) -> NDArray[np.bool_]:
    """Return which samples keep all of `limits`; what has no value meets its limit."""
    good = np.ones(len(samples.done), bool)
    for metric, seconds in limits:
        good &= ~(samples.latencies(metric) > seconds)
    return good


def early_stopping_allows(samples: int, share: float) -> int:
    """Return how many samples LoadGen lets be above a limit; -1: too few samples.

    The largest number whose binomial probability, or that of fewer, is at most 1%.
    """
    if not 0 < share < 1:
        return Limit("ttft", 0.0, share).over_allowed(samples)
    risk = 1 - EARLY_STOPPING_CONFIDENCE
    over: int = math.ceil(bdtrik(risk, samples, 1 - share))
    while over >= 0 and bdtr(over, samples, 1 - share) > risk:
        over -= 1
    return over
