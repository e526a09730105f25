"""A cluster, what is wrong with it, and what it is asked to do."""

from dataclasses import dataclass, field

TOKENS = 128


@dataclass(kw_only=True)
class Fault:
    """What is wrong with one replica."""

    slowdown: float = 1.0
    """Factor on every step."""
    clock: float = 1.0
    """Factor on the clock that telemetry shows, with nothing else to be seen."""
    during_s: tuple[float, float] = (0.0, float("inf"))
    """Begin and end of the time in which `slowdown` and `clock` apply."""
    drifts: bool = False
    """Whether `slowdown` and `clock` grow from nothing over the run."""
    throttled_from: float | None = None
    """Share of the run after which the device is too hot: clock and speed fall."""
    cold_s: float = 0.0
    """Seconds from the start in which steps take `cold_factor` as long."""
    cold_factor: float = 3.0
    way_s: float = 0.0
    """Added to the way there and back of each sample."""
    longer_prompts: float = 1.0
    contended: float = 0.0
    """Share of processor time taken by others."""
    neighbor: bool = False
    """Whether another process used the device before the replica loaded."""
    held_bytes: int = 0
    """Memory of the device that an idle process held before the replica loaded."""
    python: str = "3.11.7"
    power_w: float = 350.0
    """Limit of the device."""
    dies_at: float | None = None
    """Share of the run after which the replica dies and leaves its samples lost."""


@dataclass(kw_only=True)
class Cluster:
    """A cluster and what it is asked to do."""

    nodes: int = 4
    per_node: int = 2
    seed: int = 0
    scenario: str = "offline"
    minutes: float = 10
    faults: dict[int, Fault] = field(default_factory=dict)
    """By replica."""
    step_s: float = 0.045
    prefill_s: float = 6.5e-5
    decode_s: float = 3.0e-4
    max_seqs: int = 48
    budget: int = 2048
    device_spread: float = 0.01
    """Standard deviation of the devices' speeds."""
    load: float = 0.75
    """Server: share of the cluster's capacity that arrives."""

    def strength(self, fault: Fault, t_s: float) -> float:
        """Return how much of a fault's slowdown and clock applies at a time."""
        begin, end = fault.during_s
        if not begin <= t_s < end:
            return 0.0
        return min(1.0, t_s / (60 * self.minutes)) if fault.drifts else 1.0

    @property
    def replicas(self) -> int:
        return self.nodes * self.per_node

    def rate(self) -> float:
        """Return about how many samples/s one replica can do."""
        per_sample = (self.step_s * TOKENS / self.max_seqs) + 833 * self.prefill_s
        return 1 / (per_sample + TOKENS * self.decode_s)
