"""Causes that stood before the run began: what a place shares, and how it is set up."""

from record.neighbours import describe_use, is_busy, shared_devices
from report.findings.cause import Cause
from report.findings.finding import some
from report.findings.setups import apart
from report.findings.slow_context import Scene
from report.reading.traits import differing

_SHARE_SHARED = 0.5
"""How many more of a slow place's replicas than of its peers have a neighbour."""


def busy_neighbour(view: Scene) -> Cause | None:
    """Return that other processes worked on its devices, and not on its peers'."""
    return _neighbour(view, busy=True)


def resting_neighbour(view: Scene) -> Cause | None:
    """Return that other processes held memory of its devices, and not of its peers'.

    They did nothing at the moment when the replica began: what was measured during
    the run says more.
    """
    return _neighbour(view, busy=False)


def _neighbour(view: Scene, *, busy: bool) -> Cause | None:
    shared = {
        record.replica: use
        for record in view.run.replicas
        if (use := shared_devices(record)) and any(map(is_busy, use)) == busy
    }
    own, rest = (
        sum(replica in shared for replica in group) / max(1, len(group))
        for group in (view.slow.replicas, view.peers)
    )
    if own - rest < _SHARE_SHARED:
        return None
    uses = [
        f"replica {replica}: {', '.join(describe_use(use) for use in shared[replica])}"
        for replica in view.slow.replicas
        if replica in shared
    ]
    return Cause(
        code="neighbour",
        text="another process was using its device before it loaded anything"
        f" ({some(uses)}; {'none' if not rest else format(rest, '.0%')} of its peers"
        " had one)",
        advice="keep other processes off its device (nvidia-smi lists them)",
    )


def setup(view: Scene) -> Cause | None:
    """Return in what its setup differs from that of all of its peers."""
    own, peers = view.slow.replicas, view.peers
    found = [
        told
        for trait in differing(view.run.replicas)
        if (told := apart(trait, own, peers)) is not None
    ]
    if not found:
        return None
    return Cause(
        code="unlike",
        text=f"its setup differs from that of all its peers: {'; '.join(found)}",
        advice="give it the setup of its peers",
    )
