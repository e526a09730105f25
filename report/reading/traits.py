"""Hardware, limits, versions and settings of each replica, and their differences."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from record.structs import ReplicaRecord

_SAME_SHARE = 0.02
"""Sizes that vLLM derives from free memory differ by less than this between equal
devices."""
_SAME_CORES = 1.0
"""Cores are assigned as whole cores, so equal hosts may differ by one core."""

Value = float | str


@dataclass(slots=True, kw_only=True)
class Trait:
    """A property of replicas, with the value of each replica."""

    name: str
    unit: str
    values: dict[int, Value]
    """By replica; replicas with an unknown value are left out."""

    def text(self, value: Value) -> str:
        """Return a value with its unit."""
        number = f"{value:,.10g}" if isinstance(value, float) else value
        return f"{number} {self.unit}".rstrip()

    def same(self, one: Value, other: Value) -> bool:
        """Return whether two values are equal within what equal hosts show."""
        if isinstance(one, str) or isinstance(other, str):
            return one == other
        if self.name == "cores":
            return abs(one - other) <= _SAME_CORES
        return abs(one - other) <= _SAME_SHARE * max(abs(one), abs(other))

    def groups(self) -> list[tuple[Value, list[int]]]:
        """Return each value with its replicas; the rarest value first."""
        found: list[tuple[Value, list[int]]] = []
        for replica, value in sorted(self.values.items()):
            for known, owners in found:
                if self.same(known, value):
                    owners.append(replica)
                    break
            else:
                found.append((value, [replica]))
        return sorted(found, key=lambda one: len(one[1]))


def differing(replicas: Iterable[ReplicaRecord]) -> list[Trait]:
    """Return the traits that are not the same on all replicas."""
    traits = _collect(replicas, _traits)
    return [trait for trait in traits if len(trait.groups()) > 1]


def versions(replicas: Iterable[ReplicaRecord]) -> list[Trait]:
    """Return the software versions of replicas."""
    return _collect(replicas, _versions)


def engine_settings(replicas: Iterable[ReplicaRecord]) -> list[Trait]:
    """Return the engine settings of replicas, ordered by name."""
    return sorted(_collect(replicas, _engine_settings), key=lambda trait: trait.name)


_Values = Iterable[tuple[str, str, Value]]
"""Name, unit and value of traits of one replica."""


def _collect(
    replicas: Iterable[ReplicaRecord], values: Callable[[ReplicaRecord], _Values]
) -> list[Trait]:
    traits: dict[str, Trait] = {}
    for record in replicas:
        for name, unit, value in values(record):
            trait = traits.setdefault(name, Trait(name=name, unit=unit, values={}))
            trait.values[record.replica] = value
    return list(traits.values())


def _traits(record: ReplicaRecord) -> _Values:
    kinds = [device.rpartition(" #")[0] or device for device in record.devices]
    yield "devices", "", ", ".join(sorted(kinds))
    yield "cores", "", float(len(record.cpus))
    remote = remote_memory(record)
    if remote is not None:
        # In steps of 10%: the exact share differs a little in every start.
        yield "memory on remote NUMA nodes", "%", 10.0 * round(10 * remote)
    yield from _versions(record)
    yield from _engine_settings(record)
    for name, unit, values in (
        ("power limit", "W", [limit.power_w for limit in record.limits]),
        ("highest SM clock", "MHz", [limit.sm_clock_mhz for limit in record.limits]),
        ("memory clock", "MHz", [limit.memory_clock_mhz for limit in record.limits]),
    ):
        known = [value for value in values if value is not None]
        if known:
            yield name, unit, float(min(known))


def remote_memory(record: ReplicaRecord) -> float | None:
    """Return the share of a replica's memory on remote NUMA nodes; None: not known.

    Remote is what is not the node of its devices; where that is not known, what is not
    a node of its cores.
    """
    if record.host is None or not record.host.memory_bytes:
        return None
    near = {one.numa_node for one in record.health if one.numa_node is not None}
    near = near or set(record.host.numa_nodes or ())
    held = record.host.memory_bytes
    total = sum(held.values())
    if not near or not total:
        return None
    return sum(size for node, size in held.items() if node not in near) / total


def _versions(record: ReplicaRecord) -> _Values:
    for name, version in record.versions.items():
        yield name, "", version


def _engine_settings(record: ReplicaRecord) -> _Values:
    for name, setting in record.engine.items():
        if name.endswith("_s"):
            continue  # A duration is a measurement, not a setting.
        if isinstance(setting, int | float) and not isinstance(setting, bool):
            yield name, "", float(setting)
        elif setting is not None:
            yield name, "", str(setting)
