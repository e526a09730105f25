"""A replica's devices: what they have, what they used and what they achieved."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from record.structs import ReplicaRecord
from report.reading.run import Run
from report.reading.samples import FloatArray, Samples
from report.statistics.busy import busy_s
from report.statistics.numbers import known
from report.statistics.physics import (
    DeviceRating,
    ModelShape,
    precision_bits,
    rating_of,
    shape_of,
)


@dataclass
class ReplicaDevices:
    """A replica with what was measured on its devices."""

    run: Run
    record: ReplicaRecord
    ratings: dict[str, DeviceRating]

    @property
    def number(self) -> int:
        """Number of the replica."""
        return self.record.replica

    @cached_property
    def done(self) -> Samples:
        """Completed samples."""
        return self.run.by_replica[self.number]

    @cached_property
    def shape(self) -> ModelShape | None:
        """Shape of its model; None if unknown."""
        return shape_of(self.record)

    def device(self, measure: str) -> FloatArray:
        """Return the known readings of its devices over the run."""
        return self.run.measured.devices.of(self.number, measure)

    def engine(self, measure: str) -> FloatArray:
        """Return the known readings of its engine over the run."""
        return self.run.measured.engines.of(self.number, measure)

    @cached_property
    def memory_used(self) -> float | None:
        """Highest use in bytes, summed over the devices."""
        return self._peak("memory_used_bytes") or self.record.memory_bytes

    @cached_property
    def memory_total(self) -> float | None:
        """Memory of the devices in bytes."""
        limit = sum(d.memory_bytes or 0 for d in self.record.limits)
        return float(limit) if limit else self._peak("memory_total_bytes")

    def _peak(self, measure: str) -> float | None:
        devices = self.run.telemetry.devices
        values = devices.values[measure]
        most: dict[str, float] = {}
        for line in devices.lines(self.number).tolist():
            if values[line] == values[line]:
                name = devices.device[line]
                most[name] = max(float(values[line]), most.get(name, 0.0))
        return sum(most.values()) or None

    @property
    def weights(self) -> float | None:
        """Bytes of the weights, from the shape of the model."""
        return self.shape.weights_bytes if self.shape else None

    @property
    def cache(self) -> float | None:
        """Bytes of the KV cache, from its tokens."""
        tokens = self.record.engine.get("kv_cache_tokens")
        if self.shape is None or not isinstance(tokens, int):
            return None
        return self.shape.cache_bytes_per_token * tokens

    @property
    def other_memory(self) -> float | None:
        """Bytes in use that are neither weights nor KV cache."""
        if not self.memory_used or not self.weights or not self.cache:
            return None
        rest = self.memory_used - self.weights - self.cache
        return rest if rest >= 0 else None

    @property
    def devices(self) -> int:
        """Number of its devices; 1 on a CPU."""
        return max(1, len(self.record.devices))

    @cached_property
    def busy_s(self) -> float:
        """Seconds in which the replica had work."""
        return busy_s(self.done)

    @cached_property
    def rating(self) -> tuple[str, DeviceRating] | None:
        """Name and limits of its devices; None if they are unknown."""
        devices = self.record.devices
        return rating_of(devices[0] if devices else "", self.ratings)

    @property
    def peak_flops(self) -> float | None:
        """FLOP/s that the vendor states for a device; None if unknown."""
        if self.rating is None:
            return None
        return self.rating[1].flops.get(precision_bits(self.record))

    @cached_property
    def flops(self) -> float | None:
        """FLOP/s of a device while the replica had work."""
        if self.shape is None or not self.busy_s:
            return None
        done = self.done
        work = self.shape.flops(done.prompt_tokens, done.output_tokens)
        return work / self.busy_s / self.devices

    @cached_property
    def traffic(self) -> float | None:
        """Lowest possible bytes/s of a device while the replica had work."""
        done = self.done
        later = np.maximum(done.output_tokens - 1, 1)
        steps = known(done.decode / later)
        if self.shape is None or not len(steps) or not np.median(steps) > 0:
            return None
        number = self.busy_s * 1e9 / float(np.median(steps))
        return self.shape.bytes_read(done, number) / self.busy_s / self.devices
