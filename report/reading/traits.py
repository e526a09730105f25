"""What each replica runs on and with, and where replicas differ in it."""

from collections.abc import Iterable
from dataclasses import dataclass

from record.structs import ReplicaRecord

_ALIKE = 0.02
"""Sizes that vLLM derives from free memory differ by less between equal devices."""
_CORES_ALIKE = 1.0
"""Cores are shared out whole, so a difference of one core has no cause on the host."""

Value = float | str


@dataclass(slots=True, kw_only=True)
class Trait:
    """Something that replicas have, and each one's value of it."""

    name: str
    unit: str
    values: dict[int, Value]
    """By replica; those of which it is not known are left out."""

    def told(self, value: Value) -> str:
        """Return a value with its unit."""
        number = f"{value:,.10g}" if isinstance(value, float) else value
        return f"{number} {self.unit}".rstrip()

    def same(self, one: Value, other: Value) -> bool:
        """Return whether two values are as good as equal."""
        if isinstance(one, str) or isinstance(other, str):
            return one == other
        if self.name == "cores":
            return abs(one - other) <= _CORES_ALIKE
        return abs(one - other) <= _ALIKE * max(abs(one), abs(other))

    def groups(self) -> list[tuple[Value, list[int]]]:
        """Return each value with the replicas that have it, the rarest first."""
        found: list[tuple[Value, list[int]]] = []
        for replica, value in sorted(self.values.items()):
            for known, members in found:
                if self.same(known, value):
                    members.append(replica)
                    break
            else:
                found.append((value, [replica]))
        return sorted(found, key=lambda one: len(one[1]))


def differing(replicas: Iterable[ReplicaRecord]) -> list[Trait]:
    """Return the traits in which replicas differ."""
    traits: dict[str, Trait] = {}
    for record in replicas:
        for name, unit, value in _traits(record):
            trait = traits.setdefault(name, Trait(name=name, unit=unit, values={}))
            trait.values[record.replica] = value
    return [trait for trait in traits.values() if len(trait.groups()) > 1]


def _traits(record: ReplicaRecord) -> Iterable[tuple[str, str, Value]]:
    kinds = [device.rpartition(" #")[0] or device for device in record.devices]
    yield "devices", "", ", ".join(sorted(kinds))
    yield "cores", "", float(len(record.cpus))
    for name, version in record.versions.items():
        yield name, "", version
    for name, setting in record.engine.items():
        if name.endswith("_s"):
            continue  # How long something took is no setting.
        if isinstance(setting, int | float) and not isinstance(setting, bool):
            yield name, "", float(setting)
        elif setting is not None:
            yield name, "", str(setting)
    for name, unit, values in (
        ("power limit", "W", [limit.power_w for limit in record.limits]),
        ("highest SM clock", "MHz", [limit.sm_clock_mhz for limit in record.limits]),
        ("memory clock", "MHz", [limit.memory_clock_mhz for limit in record.limits]),
    ):
        known = [value for value in values if value is not None]
        if known:
            yield name, unit, float(min(known))
