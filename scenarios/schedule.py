"""LoadGen's Server schedule, simulated from its seed.

Server issues whole passes over the data set until the schedule reaches the minimum
duration. So a slightly higher rate can double the run: at 22.1 queries/s 13,368 queries
end just before 600 s, and LoadGen appends 13,368 more.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WORD = 2**32
_GENERATED = 2
_MARGIN = 1.05
_ROUND_UP = 1.001


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The queries that LoadGen would issue at one rate."""

    target_qps: float
    queries: int
    duration_s: float
    """Time of the last query's successor, as LoadGen logs it
    (`generated_query_duration`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSchedule:
    """The schedule that LoadGen draws for a scenario with arrival times."""

    seed: int
    pass_queries: int
    """Queries of one pass over the data set."""
    min_duration_s: float

    def arrivals(self, target_qps: float) -> Arrivals:
        """Return how many queries LoadGen issues at `target_qps`, and for how long.

        Args:
            target_qps: queries/s, above 0.
        """
        passes = max(1, int(self.min_duration_s * target_qps / self.pass_queries))
        times = self.times(passes * self.pass_queries) / target_qps
        while times[-2] < self.min_duration_s:
            passes += 1
            times = self.times(passes * self.pass_queries) / target_qps
        late = int(np.searchsorted(times, self.min_duration_s))
        queries = (late // self.pass_queries + 1) * self.pass_queries
        return Arrivals(target_qps, queries, float(times[queries]))

    def efficient_rates(self, passes: int) -> list[Arrivals]:
        """Return the highest rate (3 decimals) at which 1, 2, ... passes suffice.

        Args:
            passes: how many rates to return.
        """
        rates = []
        for count in range(1, passes + 1):
            last = self.times(count * self.pass_queries)[-2]
            rate = np.floor(1000 * last / self.min_duration_s) / 1000
            rates.append(self.arrivals(float(rate)))
        return rates

    def times(self, count: int) -> NDArray[np.float64]:
        """Return the times of `count` + 1 arrivals at 1 query/s, the first at 0."""
        # C++: generate_canonical<double, 53> takes two words of std::mt19937, the low
        # word first; std::exponential_distribution is -log(1 - u) / rate.
        generator = np.random.RandomState(self.seed % _WORD)
        words = generator.randint(0, _WORD, 2 * count, dtype=np.uint32)
        unit = (words[0::2] + words[1::2].astype(np.float64) * _WORD) / _WORD**2
        return np.concatenate([[0.0], np.cumsum(-np.log1p(-unit))])


def offline_samples(target_qps: float, data_set: int, min_duration_s: float) -> int:
    """Return how many samples LoadGen issues in Offline: whole passes.

    Args:
        target_qps: expected samples/s.
        data_set: samples of the data set.
        min_duration_s: shortest duration.
    """
    needed = max(data_set, int(1.1 * min_duration_s * target_qps))
    return -(-needed // data_set) * data_set


def singlestream_queries(
    expected_s: float, data_set: int, min_duration_s: float
) -> int:
    """Return how many queries LoadGen issues in SingleStream: all that it generates.

    It generates whole passes with twice the queries that fill the minimum duration.
    With equal issue it does not end before the last query.

    Args:
        expected_s: expected latency in s, as set in LoadGen.
        data_set: samples of the data set.
        min_duration_s: shortest duration.
    """
    generated = math.ceil(_GENERATED * min_duration_s / expected_s)
    return -(-generated // data_set) * data_set


def singlestream_expected_s(
    measured_s: float, data_set: int, min_duration_s: float
) -> float:
    """Return the expected latency in s that makes the run as short as allowed.

    Args:
        measured_s: mean latency of a query; the run may be 5% faster.
        data_set: samples of the data set.
        min_duration_s: shortest duration.
    """
    passes = math.ceil(_MARGIN * min_duration_s / (data_set * measured_s))
    return _ROUND_UP * _GENERATED * min_duration_s / (passes * data_set)
