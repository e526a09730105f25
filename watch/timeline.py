"""What a run did second by second, as far as its files show it."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from record.structs import EngineLine

_MOST_BINS = 600
"""Bins are merged in pairs beyond this: no screen shows more."""


@dataclass(slots=True)
class Bin:
    """One stretch of time."""

    completed: int = 0
    tokens: int = 0
    ttft_max_s: float = 0.0
    """Longest TTFT of the samples completed in it; 0 where none is known."""
    running: dict[tuple[str, int], int] = field(default_factory=dict)
    """Requests in each engine's batch, by its last heartbeat in it."""
    waiting: dict[tuple[str, int], int] = field(default_factory=dict)

    def merge(self, later: "Bin") -> None:
        """Add the next bin to this one."""
        self.completed += later.completed
        self.tokens += later.tokens
        self.ttft_max_s = max(self.ttft_max_s, later.ttft_max_s)
        self.running |= later.running
        self.waiting |= later.waiting


class Timeline:
    """Series over time, in at most `_MOST_BINS` bins."""

    def __init__(self) -> None:
        """Start without bins, one second wide."""
        self.width_s = 1
        self.bins: dict[int, Bin] = {}
        """By time in units of `width_s` since the epoch."""

    def add_samples(
        self,
        completed_ns: NDArray[np.int64],
        tokens: NDArray[np.int64],
        ttft_s: NDArray[np.float64],
    ) -> None:
        """Add completed samples; TTFT is NaN where it is not known."""
        numbers = completed_ns // (self.width_s * 1_000_000_000)
        for number in np.unique(numbers):
            mask = numbers == number
            one = self._bin(int(number))
            one.completed += int(mask.sum())
            one.tokens += int(tokens[mask].sum())
            known = ttft_s[mask][~np.isnan(ttft_s[mask])]
            if known.size:
                one.ttft_max_s = max(one.ttft_max_s, float(known.max()))
        self._shrink()

    def add_engine(self, line: EngineLine) -> None:
        """Add a heartbeat."""
        one = self._bin(line.t_ns // (self.width_s * 1_000_000_000))
        one.running[line.node, line.replica] = line.running
        one.waiting[line.node, line.replica] = line.waiting
        self._shrink()

    def series(self, begin_ns: int) -> dict[str, list[float | None]]:
        """Return times in s since `begin_ns`, and the series at them.

        Bins without a heartbeat, and those without a TTFT, are None there.
        """
        numbers = sorted(self.bins)
        if numbers:
            numbers = list(range(numbers[0], numbers[-1] + 1))
        bins = [self.bins.get(number, Bin()) for number in numbers]
        return {
            "t": [round(n * self.width_s - begin_ns / 1e9, 1) for n in numbers],
            "completed": [one.completed / self.width_s for one in bins],
            "tokens": [one.tokens / self.width_s for one in bins],
            "ttft": [one.ttft_max_s or None for one in bins],
            "running": [sum(b.running.values()) if b.running else None for b in bins],
            "waiting": [sum(b.waiting.values()) if b.waiting else None for b in bins],
        }

    def _bin(self, number: int) -> Bin:
        if number not in self.bins:
            self.bins[number] = Bin()
        return self.bins[number]

    def _shrink(self) -> None:
        while self.bins and max(self.bins) - min(self.bins) >= _MOST_BINS:
            merged: dict[int, Bin] = {}
            for number in sorted(self.bins):
                if number // 2 in merged:
                    merged[number // 2].merge(self.bins[number])
                else:
                    merged[number // 2] = self.bins[number]
            self.bins = merged
            self.width_s *= 2
