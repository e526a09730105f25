"""Conditions that existed before the run: shared devices, and different setups.

Each condition is a cause if it sets a slow node or replica apart from its peers, and a
finding of its own if no replica is slow.
"""

from collections.abc import Iterator

from record.shared_devices import describe_use, is_busy, shared_devices
from report.findings.finding import Cause, Finding, Found
from report.findings.slow_context import SlowContext
from report.reading.run import Run
from report.reading.traits import Trait, differing
from report.wording import name_replicas, some

_MORE_SHARED = 0.5
"""Share of replicas with a neighbor at the slow location less that of its peers."""


def busy_neighbor(context: SlowContext) -> Cause | None:
    """Return that other processes used its devices, but not those of its peers."""
    return _neighbor(context, busy=True)


def idle_neighbor(context: SlowContext) -> Cause | None:
    """Return that idle processes held memory of its devices, but not of its peers'.

    They did nothing when the replica started, so causes that were measured during the
    run come first.
    """
    return _neighbor(context, busy=False)


def _neighbor(context: SlowContext, *, busy: bool) -> Cause | None:
    shared = {
        record.replica: use
        for record in context.run.replicas
        if (use := shared_devices(record)) and any(map(is_busy, use)) == busy
    }
    own, peers = (
        sum(replica in shared for replica in group) / max(1, len(group))
        for group in (context.slow.replicas, context.peers)
    )
    if own - peers < _MORE_SHARED:
        return None
    uses = [
        f"replica {replica}: {', '.join(describe_use(use) for use in shared[replica])}"
        for replica in context.slow.replicas
        if replica in shared
    ]
    others = f"{peers:.0%} of its peers had one" if peers else "its peers had none"
    return Cause(
        code="neighbor",
        text=f"Another process used {context.its.lower()} device before the replica"
        f" loaded anything ({some(uses)}); {others}.",
        advice="remove other processes from its device (nvidia-smi lists them)",
    )


def setup(context: SlowContext) -> Cause | None:
    """Return the traits in which it differs from all of its peers."""
    own, peers = context.slow.replicas, context.peers
    found = [
        text
        for trait in differing(context.run.replicas)
        if (text := apart(trait, own, peers)) is not None
    ]
    if not found:
        return None
    return Cause(
        code="heterogeneous",
        text=f"{context.its} setup differs from that of all peers: {'; '.join(found)}.",
        advice="give it the same setup as the peers",
    )


def neighbors(run: Run, reported: set[int]) -> Iterator[Found]:
    """Yield the replicas whose devices other processes used.

    Args:
        run: the run.
        reported: replicas for which this is the cause of a slowdown already.
    """
    shared = {
        record.replica: use
        for record in run.replicas
        if record.replica not in reported and (use := shared_devices(record))
    }
    if not shared:
        return
    uses = [
        f"replica {replica}: {', '.join(describe_use(use) for use in devices)}"
        for replica, devices in shared.items()
    ]
    yield Found(
        finding=Finding(
            code="neighbor",
            severity="warning",
            title=f"Another process used the devices of {name_replicas([*shared])}",
            where=[f"replica {replica}" for replica in shared],
            evidence=f"In use before the replica loaded anything: {some(uses)}.",
            cause="A shared device is slower than a free one, even if all replicas are"
            " equally fast.",
            measure="Repeat the run with free devices (nvidia-smi lists processes).",
        )
    )


def setups(run: Run, reported: set[int]) -> Iterator[Found]:
    """Yield the differences between the setups of replicas.

    Args:
        run: the run.
        reported: replicas for which this is the cause of a slowdown already.
    """
    traits = [
        trait
        for trait in differing(run.replicas)
        if not any(set(owners) <= reported for _, owners in trait.groups())
    ]
    if not traits:
        return
    rare = sorted({replica for trait in traits for replica in _rare(trait)})
    yield Found(
        finding=Finding(
            code="heterogeneous",
            severity="warning",
            title="Replicas have different setups",
            where=[f"replica {replica}" for replica in rare],
            evidence=f"{'; '.join(describe(trait) for trait in traits)}.",
            cause="The hosts differ in hardware, in its limits or in installed"
            " software. This may explain part of a difference in speed.",
            measure="Repeat the run with equal setups.",
        )
    )


def describe(trait: Trait) -> str:
    """Return each value of a trait with its replicas, for a sentence."""
    return f"{trait.name}: " + ", ".join(
        f"{trait.text(value)} on {name_replicas(owners)}"
        for value, owners in trait.groups()
    )


def apart(trait: Trait, own: list[int], peers: list[int]) -> str | None:
    """Return the values of a trait here and at the peers; None if they share one."""
    here = [trait.values[r] for r in own if r in trait.values]
    there = [trait.values[r] for r in peers if r in trait.values]
    if not here or not there:
        return None
    if any(trait.same(one, other) for one in here for other in there):
        return None
    own_text, peers_text = (
        some(list(dict.fromkeys(trait.text(value) for value in values)))
        for values in (here, there)
    )
    return f"{trait.name} {own_text}, peers {peers_text}"


def _rare(trait: Trait) -> list[int]:
    """Return the replicas without the most common value; all if there is a tie."""
    groups = [owners for _, owners in trait.groups()]
    most = len(groups[-1])
    tie = sum(len(owners) == most for owners in groups) > 1
    return [r for owners in groups if tie or len(owners) < most for r in owners]
