"""Whether a run of Server or Interactive was in a steady state, so its rate counts.

A system sustains a rate if its queue does not grow, no matter how long the run is. A
short run does not show this: while the whole run fits into one batch, latencies hardly
depend on the rate. So a run is judged by three questions:

- Was it long enough? Queries must arrive for `FEWEST_LATENCIES` service latencies.
  The first `RAMP_LATENCIES` of them fill the batch from empty and are left out, as the
  initial transient of a simulation is (Law, Simulation Modeling and Analysis, 5th
  edition, section 9.5.1).
- Did the number of open samples grow? It is averaged over blocks of time (batch means,
  the same book, section 9.5.3). A straight line is fitted to the blocks. Its slope is
  judged by Student's t, with the number of independent blocks n (1 - r) / (1 + r) for
  their lag-1 autocorrelation r (Santer et al., Journal of Geophysical Research 105
  (2000), 7337-7356). It counts where it is significant (`SIGNIFICANCE`) and more than
  `LEAST_GROWTH` of the arrival rate.
- Did completions keep up with arrivals? In a shorter run too, a difference of more
  than `GROSS` standard deviations of Poisson arrivals and completions is growth.

All three use the time between the end of the ramp and the last arrival. The drain after
the last arrival says nothing about a rate.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from record.structs import SampleRecord

FEWEST_LATENCIES = 10.0
RAMP_LATENCIES = 2.0
SIGNIFICANCE = 0.01
LEAST_GROWTH = 0.02
GROSS = 3.0
_BLOCKS = 16
_FEWEST_SAMPLES = 16

FloatArray = NDArray[np.float64]
Steadiness = Literal["steady", "growing", "too_short"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgment:
    """Whether a run was in a steady state, and the numbers behind it."""

    word: Steadiness
    reason: str
    """One sentence with the numbers behind the word."""
    arrivals_s: float = 0.0
    """From the first arrival to the last, in s."""
    service_s: float = 0.0
    """Median latency of a sample without its time in a queue, in s."""
    rate_per_s: float = 0.0
    """Arrivals per second from the first arrival to the last."""
    arrived_per_s: float = 0.0
    """Arrivals per second between the ramp and the last arrival."""
    completed_per_s: float = 0.0
    """Completions per second in the same time."""
    finished_per_s: float = 0.0
    """Completions per second from the first arrival to the last completion."""
    growth_per_s: float = 0.0
    """Slope of the number of open samples in that time, in samples/s."""
    p: float = 1.0
    """Probability of this slope or a greater one if there is no growth."""

    @property
    def latencies(self) -> float:
        """Time between first and last arrival, in service latencies."""
        return self.arrivals_s / self.service_s if self.service_s else 0.0


def judge_samples(samples: Iterable[SampleRecord]) -> Judgment:
    """Return the judgment on the lines of a run's `samples.jsonl`."""
    rows = [
        (
            s.issued_ns,
            np.nan if s.first_token_ns is None else s.first_token_ns - s.issued_ns,
            np.inf if s.completed_ns is None else s.completed_ns - s.issued_ns,
        )
        for s in samples
    ]
    if not rows:
        return Judgment(word="too_short", reason="No sample was issued.")
    begin = min(issued for issued, _, _ in rows)
    issued, ttft, latency = np.array(
        [(issued - begin, ttft, latency) for issued, ttft, latency in rows]
    ).T
    return judge_times(issued / 1e9, (issued + ttft) / 1e9, (issued + latency) / 1e9)


def judge_times(issued: FloatArray, first: FloatArray, done: FloatArray) -> Judgment:
    """Return the judgment on a run's samples.

    Args:
        issued: when each sample was issued, in s, in any order; shape (samples,).
        first: when its first token came; NaN where that is not known.
        done: when it was completed; infinite where it never was.
    """
    answered = np.isfinite(done)
    if answered.sum() < _FEWEST_SAMPLES:
        return Judgment(
            word="too_short",
            reason=f"Only {int(answered.sum())} samples were completed: too few to"
            " judge.",
        )
    begin, end = float(issued.min()), float(issued.max())
    rate = (len(issued) - 1) / (end - begin) if end > begin else 0.0
    service = _service_s(issued[answered], first[answered], done[answered])
    ramp = begin + RAMP_LATENCIES * service
    finished = float(answered.sum() / (done[answered].max() - begin))
    if end <= ramp:
        return _judgment("too_short", begin, end, service, rate, finished)
    arrived = int(((issued > ramp) & (issued <= end)).sum())
    completed = int(((done > ramp) & (done <= end)).sum())
    growth, p = _trend(issued, done, ramp, end)
    rates = arrived / (end - ramp), completed / (end - ramp)
    long_enough = end - begin >= FEWEST_LATENCIES * service
    grew = p < SIGNIFICANCE and growth > LEAST_GROWTH * rates[0]
    fell_behind = arrived - completed > GROSS * (arrived + completed) ** 0.5
    word: Steadiness = "steady" if long_enough else "too_short"
    if fell_behind or (long_enough and grew):
        word = "growing"
    return _judgment(word, begin, end, service, rate, finished, *rates, growth, p)


def _service_s(issued: FloatArray, first: FloatArray, done: FloatArray) -> float:
    """Return the median latency of a sample without its time in a queue, in s.

    That is the median time from first to last token, plus the shortest TTFT, since the
    fastest sample did not wait.
    """
    streamed = ~np.isnan(first)
    if not streamed.any():
        return float((done - issued).min())
    decode = np.median(done[streamed] - first[streamed])
    return float(decode + (first[streamed] - issued[streamed]).min())


def _trend(
    issued: FloatArray, done: FloatArray, begin: float, end: float
) -> tuple[float, float]:
    """Return the slope of the number of open samples in samples/s, and its p."""
    edges = np.linspace(begin, end, _BLOCKS + 1)
    open_s = _held_s(issued, edges) - _held_s(done, edges)
    means = np.diff(open_s) / np.diff(edges)
    middles = (edges[1:] + edges[:-1]) / 2
    centered = middles - middles.mean()
    slope = float(centered @ means / (centered @ centered))
    rest = means - means.mean() - slope * centered
    variance = float(rest @ rest)
    if not variance:
        return slope, 0.0 if slope > 0 else 1.0
    r = min(max(float(rest[1:] @ rest[:-1]) / variance, 0.0), 0.9)
    independent = max(4.0, _BLOCKS * (1 - r) / (1 + r))
    error = (variance / (independent - 2) / float(centered @ centered)) ** 0.5
    return slope, float(stdtr(independent - 2, -slope / error))


def _held_s(times: FloatArray, edges: FloatArray) -> FloatArray:
    """Return the integral, up to each edge, of the number of earlier `times`."""
    ordered = np.sort(times[np.isfinite(times)])
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    before = np.searchsorted(ordered, edges, side="right")
    held: FloatArray = before * edges - sums[before]
    return held


def _judgment(
    word: Steadiness,
    begin: float,
    end: float,
    service: float,
    rate: float,
    finished: float,
    arrived: float = 0.0,
    completed: float = 0.0,
    growth: float = 0.0,
    p: float = 1.0,
) -> Judgment:
    span = (
        f"queries arrived for {end - begin:,.3g} s, {(end - begin) / service:,.3g}"
        f" service latencies of {service:,.3g} s"
        if service
        else f"queries arrived for {end - begin:,.3g} s"
    )
    rates = f"{arrived:,.4g} queries/s arrived and {completed:,.4g} were completed"
    reason = {
        "steady": f"The queue did not grow: {rates}; {span}.",
        "growing": f"The queue grew by {max(growth, arrived - completed):,.3g}"
        f" samples/s: {rates}; {span}.",
        "too_short": f"The run was too short to show a steady state: {span}, and"
        f" {FEWEST_LATENCIES:g} service latencies are needed.",
    }[word]
    return Judgment(
        word=word,
        reason=reason,
        arrivals_s=end - begin,
        service_s=service,
        rate_per_s=rate,
        arrived_per_s=arrived,
        completed_per_s=completed,
        finished_per_s=finished,
        growth_per_s=growth,
        p=p,
    )
