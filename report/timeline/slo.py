"""Explains each missed latency limit by numbers that add up.

Each late request belongs to one part: to an episode (from its begin until the queue
that it left was gone), to a burst of arrivals above what the settings sustained, or to
the rest. A percentile "without" a part is that of all requests outside the part's time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from base.percentiles import loadgen_percentile
from report.reading.samples import BoolArray, FloatArray
from report.timeline.capacity import Capacity
from report.timeline.episodes import LOAD, Episode
from report.timeline.series import Inputs, Series
from report.timeline.signals import saturated

PartKind = Literal["episode", "burst", "rest"]
_GAP_S = 10.0
"""Late requests this far apart, or four decode times, are not one burst."""
_FEWEST = 20
_LEAST = 0.01
"""Share of the late requests that makes a stretch of them worth a name."""


@dataclass(slots=True, kw_only=True)
class Part:
    """Late requests that have one explanation."""

    kind: PartKind
    begin_s: float
    end_s: float
    late: int
    requests: int
    """All requests of that time."""
    without_s: float
    """The percentile of all requests outside of it."""
    arrived_per_s: float = 0.0
    """Arrivals while the queue grew (bursts)."""
    idle_pct: float = 0.0
    """Idle GPU while requests waited, in the same time, in percent."""
    above: bool = False
    """Whether that is above what the settings sustained."""
    episode: Episode | None = None


@dataclass(slots=True, kw_only=True)
class Account:
    """One limit that was missed."""

    limit: str
    """`TTFT` or `TPOT`."""
    limit_s: float
    percentile: float
    value_s: float
    """The percentile of the run."""
    requests: int
    late: int
    parts: list[Part]
    """Their `late` add up to `late`; the greatest first."""
    usual_s: float
    """The percentile without all episodes and bursts; NaN: nothing is left."""

    @property
    def allowed(self) -> int:
        """Late requests that the limit allows."""
        return int((1 - self.percentile) * self.requests)


def account(
    inputs: Inputs,
    series: Series,
    episodes: Sequence[Episode],
    capacity: Capacity | None,
) -> list[Account]:
    """Return an account of each limit that was missed."""
    requests = inputs.requests
    found: list[Account] = []
    for limit, limit_s, values, at in (
        ("TTFT", inputs.ttft_limit_s, requests.ttft, requests.arrived),
        (
            "TPOT",
            inputs.tpot_limit_s,
            requests.tpot,
            (requests.first + requests.completed) / 2,
        ),
    ):
        if limit_s is None or np.isnan(values).all():
            continue
        value = percentile(values, inputs.percentile)
        if value <= limit_s:
            continue
        found.append(
            _Accounting(inputs, series, capacity, limit_s, values, at).make(
                limit, value, episodes
            )
        )
    return found


def percentile(values: FloatArray, share: float) -> float:
    """Return a percentile as LoadGen takes it; NaN where no value is known."""
    found = loadgen_percentile(values, share)
    return float("nan") if found is None else found


class _Accounting:
    """The late requests of one limit."""

    def __init__(
        self,
        inputs: Inputs,
        series: Series,
        capacity: Capacity | None,
        limit_s: float,
        values: FloatArray,
        at: FloatArray,
    ) -> None:
        self.inputs, self.series, self.capacity = inputs, series, capacity
        self.values, self.at = values, at
        self.late: BoolArray = np.nan_to_num(values) > limit_s

    def make(self, limit: str, value: float, episodes: Sequence[Episode]) -> Account:
        late = self.late
        left, parts = late.copy(), list[Part]()
        touched = np.zeros(len(late), bool)
        for one in sorted(episodes, key=lambda one: one.p):
            own = self._during(one)
            part = self._part("episode", one.begin_s, one.felt_until_s, own, own & left)
            part.episode = one
            if part.late:
                parts.append(part)
                left &= ~own
                touched |= own
        for begin, end in self._stretches(left):
            own = (self.at >= begin) & (self.at <= end)
            mine = own & left
            if mine.sum() < max(_FEWEST, _LEAST * late.sum()):
                continue
            part = self._part("burst", begin, end, own, mine)
            if self._describe(part):
                parts.append(part)
                left &= ~own
                touched |= own
        parts.sort(key=lambda part: -part.late)
        if left.any():
            times = self.at[left]
            parts.append(
                self._part("rest", float(times.min()), float(times.max()), left, left)
            )
        limit_s = {
            "TTFT": self.inputs.ttft_limit_s,
            "TPOT": self.inputs.tpot_limit_s,
        }[limit]
        return Account(
            limit=limit,
            limit_s=limit_s or 0.0,
            percentile=self.inputs.percentile,
            value_s=value,
            requests=int((~np.isnan(self.values)).sum()),
            late=int(late.sum()),
            parts=parts,
            usual_s=percentile(self.values[~touched], self.inputs.percentile),
        )

    def _during(self, one: Episode) -> BoolArray:
        own: BoolArray = (self.at >= one.begin_s) & (self.at <= one.felt_until_s)
        # Work of a fenced replica, and more work, reach all the others.
        if one.cause not in ("fenced", *LOAD):
            own &= np.isin(self.inputs.requests.replica, one.replicas)
        return own

    def _part(
        self, kind: PartKind, begin: float, end: float, own: BoolArray, late: BoolArray
    ) -> Part:
        return Part(
            kind=kind,
            begin_s=begin,
            end_s=end,
            late=int(late.sum()),
            requests=int(own.sum()),
            without_s=percentile(self.values[~own], self.inputs.percentile),
        )

    def _stretches(self, left: BoolArray) -> list[tuple[float, float]]:
        """Return begin and end of the stretches of late requests, in s."""
        times = np.sort(self.at[left])
        if not len(times):
            return []
        gap = max(_GAP_S, 4 * self.inputs.service_s)
        breaks = np.flatnonzero(np.diff(times) > gap)
        begins = times[np.concatenate([[0], breaks + 1])]
        ends = times[np.concatenate([breaks, [len(times) - 1]])]
        return list(zip(begins.tolist(), ends.tolist(), strict=True))

    def _describe(self, part: Part) -> bool:
        """Say how much arrived while the queue of a stretch grew.

        Returns:
            Whether that was above what the settings sustained; where the run does not
            show that, above its own mean rate.
        """
        series, width = self.series, self.series.width_s
        queue = series.unanswered.sum(axis=0)
        full = np.asarray(saturated(self.inputs, series).any(axis=0))
        begin = min(series.bins - 1, int(part.begin_s / width))
        end = min(series.bins, int(part.end_s / width) + 1)
        # Back to where the queue began, forward to where it was longest.
        while begin > 0 and full[begin - 1]:
            begin -= 1
        begin = max(0, begin - 1)
        peak = begin + 1 + int(queue[begin:end].argmax())
        arrivals = series.arrivals.sum(axis=0)
        part.arrived_per_s = float(arrivals[begin:peak].mean())
        waiting = series.gauge("waiting")[:, begin:end] > 1
        idle = np.where(
            waiting, 100 - series.gauge("utilization_pct")[:, begin:end], np.nan
        )
        if not np.isnan(idle).all():
            part.idle_pct = float(np.nanmean(idle))
        usual = len(self.inputs.requests) / max(
            1e-9, float(np.nanmax(self.inputs.requests.arrived))
        )
        sustained = self.capacity.per_s if self.capacity else usual
        part.above = part.arrived_per_s > sustained
        return part.above
