"""Causes that stood before the run began: what a place shares, and how it is set up."""

from record.neighbours import describe_use, shared_devices
from report.findings.cause import Cause
from report.findings.finding import some
from report.findings.scene import Scene
from report.findings.setups import apart
from report.setup import differing

_SHARE_SHARED = 0.5
"""How many more of a slow place's replicas than of its peers have a neighbour."""


def neighbour(view: Scene) -> Cause | None:
    """Return that other processes used its devices, and not those of its peers."""
    shared = {
        record.replica: use
        for record in view.run.replicas
        if (use := shared_devices(record))
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
        text=f"it is set up otherwise than its peers: {'; '.join(found)}",
        advice="set it up as its peers are",
    )
