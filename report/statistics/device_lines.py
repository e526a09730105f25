"""Telemetry of each single device."""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from report.reading.run import Run
from report.reading.samples import FloatArray, IntArray

BUSY_PCT = 50.0
"""Utilization from which a device is under load."""


@dataclass
class DeviceLines:
    """Readings of each device of a run, between first issue and last completion."""

    run: Run
    _known: dict[str, bool] = field(default_factory=dict)

    @cached_property
    def lines(self) -> dict[tuple[int, str], IntArray]:
        """Lines of the telemetry by replica and device."""
        found: dict[tuple[int, str], list[int]] = defaultdict(list)
        devices = self.run.measured.devices
        for line, key in enumerate(
            zip(devices.replica.tolist(), devices.device, strict=True)
        ):
            found[key].append(line)
        return {key: np.array(own, np.int64) for key, own in found.items()}

    def values(
        self, replica: int, device: str, measure: str, *, busy: bool = False
    ) -> FloatArray:
        """Return the known readings of a device in order of time.

        Args:
            replica: number of the replica.
            device: name of the device in the telemetry.
            measure: name of the measure.
            busy: only those of times at which the device was under load.
        """
        columns = self.run.measured.devices.values
        if measure not in self._known:
            self._known[measure] = bool((~np.isnan(columns[measure])).any())
        if not self._known[measure]:
            return np.zeros(0)
        own = self.lines.get((replica, device), np.zeros(0, np.int64))
        if busy:
            own = own[columns["utilization_pct"][own] >= BUSY_PCT]
        values = columns[measure][own]
        known: FloatArray = values[~np.isnan(values)]
        return known

    def rise(self, replica: int, measure: str) -> int:
        """Return by how much a counter rose, summed over the devices of a replica."""
        columns = self.run.measured.devices.values
        if not (~np.isnan(columns[measure])).any():
            return 0
        parts = [self.values(*key, measure) for key in self.lines if key[0] == replica]
        return int(sum(float(np.ptp(own)) for own in parts if len(own)))
