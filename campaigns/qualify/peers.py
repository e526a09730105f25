"""What the speed of a replica is compared with: its peers, and yardsticks from outside.

Speeds are medians over the runs of a phase. A replica's peers are those on devices of
the same name. Their level is the median of the faster half of them, the replica
included, so that slow ones do not lower it while they are at most half of all.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from campaigns.qualify.record import (
    HistoryPoint,
    Phase,
    Qualification,
    QualifyRun,
    ReplicaMeasure,
)


@dataclass(slots=True, kw_only=True)
class Yardstick:
    """What the reference file and earlier qualifications say of one replica."""

    low: float | None = None
    """Lowest output tokens/s of the reference; None: there is none."""
    high: float | None = None
    source: str = ""
    """Where it comes from; or why there is none."""
    history: list[HistoryPoint] = field(default_factory=list)


Yardsticks = Callable[[ReplicaMeasure], Yardstick]


def kind_of(devices: Sequence[str]) -> str:
    """Return the name that devices of one kind share: `NVIDIA L40S`, `4 x NVIDIA H100`.

    Args:
        devices: names with their numbers, such as `NVIDIA L40S #3`.
    """
    names = [device.partition(" #")[0] for device in devices]
    number = f"{len(names)} x " if len(names) > 1 else ""
    return number + ", ".join(dict.fromkeys(names))


class Measures:
    """The measures of a qualification, by replica."""

    def __init__(self, record: Qualification) -> None:
        """Sort the measures of all runs by replica."""
        self.by_replica: dict[int, list[tuple[QualifyRun, ReplicaMeasure]]] = {}
        for run in record.runs:
            for measure in run.measures:
                self.by_replica.setdefault(measure.replica, []).append((run, measure))
        self.members = sorted(self.by_replica)
        self.identity = {n: self._identity(n) for n in self.members}

    def _identity(self, number: int) -> ReplicaMeasure:
        """Return the first measure that knows the replica's devices."""
        own = [measure for _, measure in self.by_replica[number]]
        return next((measure for measure in own if measure.devices), own[0])

    def values(self, number: int, phase: Phase, name: str) -> list[float]:
        """Return a figure of a replica in all runs of a phase that measured it."""
        found = [
            getattr(measure, name)
            for run, measure in self.by_replica[number]
            if run.phase == phase and not measure.died
        ]
        return [value for value in found if value is not None]

    def speed(self, number: int, phase: Phase) -> float | None:
        """Return its median output tokens/s; None: it was not measured."""
        values = self.values(number, phase, "tokens_per_s")
        return statistics.median(values) if values else None

    def peers(self, number: int) -> list[int]:
        """Return the replicas on devices of the same kind, itself included."""
        kind = kind_of(self.identity[number].devices)
        return [n for n in self.members if kind_of(self.identity[n].devices) == kind]

    def level(self, number: int, value: Callable[[int], float | None]) -> float | None:
        """Return the median of the faster half of the peers; None: there are none."""
        known = [v for n in self.peers(number) if (v := value(n)) is not None]
        return faster_half(known) if len(known) > 1 else None

    def clues(self, number: int) -> str:
        """Return how its clock and power differ from those of its peers."""
        words = []
        for label, name in (("SM clock", "sm_clock_mhz"), ("power", "power_w")):
            own = median(self.values(number, "offline_alone", name))
            others = [
                value
                for n in self.peers(number)
                if n != number
                and (value := median(self.values(n, "offline_alone", name)))
            ]
            if own is not None and others:
                unit = "MHz" if name == "sm_clock_mhz" else "W"
                level = statistics.median(others)
                words.append(f"{label} {own:,.0f} {unit} (peers {level:,.0f})")
        return f"; {', '.join(words)}" if words else ""

    def mean_of_node(self, name: str) -> float | None:
        """Return the mean speed alone of a node's replicas, by their level."""
        shares = []
        for number in self.members:
            if self.identity[number].node != name:
                continue
            own = self.speed(number, "offline_alone")
            level = self.level(number, lambda n: self.speed(n, "offline_alone"))
            if own is not None and level is not None:
                shares.append(own / level)
        return statistics.fmean(shares) if shares else None


def faster_half(values: Sequence[float]) -> float:
    """Return the median of the larger half of the values; of two, the larger one."""
    ordered = sorted(values)
    return statistics.median(ordered[len(ordered) // 2 :])


def median(values: Sequence[float]) -> float | None:
    """Return the median; None: there are no values."""
    return statistics.median(values) if values else None
