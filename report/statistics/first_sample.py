"""The first sample of some replicas compared with their later samples."""

from dataclasses import dataclass

import numpy as np

from report.reading.run import Run

_COLD = 0.25
_AS_SLOW = 0.02
"""Share of the later samples that may be as slow as a cold first one."""
_FEWEST_LATER = 4


def first_sample_penalty(run: Run, replicas: list[int]) -> float | None:
    """Return (first sample's latency - fastest's) / fastest's in percent, or None.

    The first sample is the one that was dispatched to `replicas` earliest. Latency is
    dispatch to completion.
    """
    own = run.done.where(np.isin(run.done.replica, replicas))
    service = own.service_ns
    if len(own) < 2 or np.isnan(service).any() or not service.min() > 0:
        return None
    first = service[own.dispatched.argmin()]
    return float((first - service.min()) / service.min() * 100)


@dataclass(slots=True, kw_only=True)
class FirstSample:
    """The first sample of some replicas compared with their later ones."""

    excess: float
    """Its time per output token / the median of the later samples, less 1."""
    extra_s: float
    """Its service latency less the median time per output token x its tokens."""
    slower: int
    """Number of later samples that took at least as long per token."""
    later: int
    """Number of later samples."""
    fence: float
    """`excess` above which it is an outlier: 3 interquartile ranges."""

    @property
    def cold(self) -> bool:
        """Whether it was slower than later samples are."""
        return self.excess > max(_COLD, self.fence) and (
            self.slower <= _AS_SLOW * self.later
        )


def first_sample(run: Run, replicas: list[int]) -> FirstSample | None:
    """Return the first sample dispatched to `replicas` compared with the later ones.

    The comparison is per output token, since a short answer is fast in any state. None
    if there are fewer than four later samples, or latencies or tokens are unknown.
    """
    own = run.done.where(np.isin(run.done.replica, replicas))
    if not len(own) or not (own.output_tokens > 0).all():
        return None
    times = own.service_ns / own.output_tokens
    first = int(own.dispatched.argmin())
    later = np.delete(times, first)
    if len(later) < _FEWEST_LATER or np.isnan(times).any() or not later.min() > 0:
        return None
    low, middle, high = np.percentile(later, (25, 50, 75))
    return FirstSample(
        excess=float(times[first] / middle) - 1,
        extra_s=float((times[first] - middle) * own.output_tokens[first]) / 1e9,
        slower=int((later >= times[first]).sum()),
        later=len(later),
        fence=float((high + 3 * (high - low)) / middle) - 1,
    )
