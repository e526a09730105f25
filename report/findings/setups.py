"""Replicas that are not set up alike."""

from collections.abc import Iterator

from report.findings.finding import Finding, Found, name_replicas, some
from report.reading.run import Run
from report.reading.traits import Trait, differing


def setups(run: Run, told: set[int]) -> Iterator[Found]:
    """Yield in what replicas differ, less where those `told` of are a side of it."""
    traits = [
        trait
        for trait in differing(run.replicas)
        if not any(set(members) <= told for _, members in trait.groups())
    ]
    if not traits:
        return
    rare = sorted({replica for trait in traits for replica in _rare(trait)})
    yield Found(
        finding=Finding(
            code="unlike",
            severity="warning",
            title="Replicas have different setups",
            where=[f"replica {replica}" for replica in rare],
            evidence="; ".join(describe(trait) for trait in traits),
            cause="their hosts differ in hardware, its limits or installed software;"
            " this may explain part of a difference in speed",
            measure="the same run with equal setups",
        )
    )


def describe(trait: Trait) -> str:
    """Return who has which value, for a sentence."""
    return f"{trait.name}: " + ", ".join(
        f"{trait.told(value)} on {name_replicas(members)}"
        for value, members in trait.groups()
    )


def apart(trait: Trait, own: list[int], peers: list[int]) -> str | None:
    """Return a trait's values here and there, where no value is shared."""
    here = [trait.values[r] for r in own if r in trait.values]
    there = [trait.values[r] for r in peers if r in trait.values]
    if not here or not there:
        return None
    if any(trait.same(one, other) for one in here for other in there):
        return None
    own_told, peers_told = (
        some(list(dict.fromkeys(trait.told(value) for value in values)))
        for values in (here, there)
    )
    return f"{trait.name} {own_told} against {peers_told}"


def _rare(trait: Trait) -> list[int]:
    """Return the replicas that have not the commonest value; all, where none is."""
    groups = [members for _, members in trait.groups()]
    most = len(groups[-1])
    tie = sum(len(members) == most for members in groups) > 1
    return [r for members in groups if tie or len(members) < most for r in members]
