"""How often `campaigns.qualify` misses a planted fault, or fails an even cluster.

    python -m benchmarks.qualify_faults [--seeds 200]

Measurements are drawn, not made: the speeds of devices and of single runs are normal.
All else is the product's own: rounds, confirmation, checks, tests of answers.
"""

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from campaigns.qualify.record import HardwareFact
from tests.campaigns.qualify.fake import FakeCluster, qualify

_XID = HardwareFact(code="xid", severity="critical", text="XID 79.")
_FAULTS: list[tuple[str, Callable[[int, int], FakeCluster], set[int], str]] = [
    ("one device 12% slower", lambda n, s: _make(n, s, slow={5: 1.12}), {5}, ""),
    ("one device 7% slower", lambda n, s: _make(n, s, slow={5: 1.07}), {5}, ""),
    ("30% wrong answers", lambda n, s: _make(n, s, wrong={2: 0.3}), {2}, ""),
    ("10% wrong answers", lambda n, s: _make(n, s, wrong={2: 0.1}), {2}, ""),
    ("two dead devices", lambda n, s: _make(n, s, dead={1, 6}), {1, 6}, ""),
    ("lost in Server", lambda n, s: _make(n, s, dies_in={3: "server_all"}), {3}, ""),
    (
        "a node 10% slower",
        lambda n, s: _make(n, s, slow=dict.fromkeys(range(8), 1.1)),
        set(range(8)),
        "n1",
    ),
    (
        "a host that slows its devices by 20% together",
        lambda n, s: _make(n, s, slow_together=dict.fromkeys(range(8), 1.2)),
        set(range(8)),
        "n1",
    ),
    (
        "XID 79",
        lambda n, s: _make(n, s, facts={4: _XID}),
        {4},
        "",
    ),
]


def _make(nodes: int, seed: int, **changes: object) -> FakeCluster:
    return FakeCluster(nodes=nodes, per_node=8, seed=seed, **changes)  # type: ignore[arg-type]


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    seeds = parser.parse_args().seeds
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as scratch:
        _even(Path(scratch), seeds)
        _planted(Path(scratch), seeds)
    return 0


def _even(root: Path, seeds: int) -> None:
    print("| replicas | devices vary by | runs vary by | clusters failed |")
    print("|---:|---:|---:|---:|")
    for nodes in (1, 2, 8):
        for spread, noise in ((0.005, 0.005), (0.01, 0.005), (0.015, 0.01)):
            bad = 0
            for seed in range(seeds):
                cluster = _make(nodes, seed, device_spread=spread, noise=noise)
                bad += qualify(cluster, root).record.status != "passed"
            print(
                f"| {8 * nodes} | {spread:.1%} | {noise:.1%} | {bad} of {seeds}"
                f" ({bad / seeds:.1%}) |",
                flush=True,
            )


def _planted(root: Path, seeds: int) -> None:
    print("\n| planted in 16 replicas on 2 nodes | named | others failed as well |")
    print("|---|---:|---:|")
    for name, make, wanted, node in _FAULTS:
        named = extra = 0
        for seed in range(seeds):
            record = qualify(make(2, seed), root).record
            failed = {r.replica for r in record.replicas if r.outcome == "failed"}
            hosts = {
                one.node
                for one in record.nodes
                if any(check.outcome == "failed" for check in one.checks)
            }
            named += failed >= wanted and (not node or node in hosts)
            extra += bool(failed - wanted)
        print(f"| {name} | {named} of {seeds} | {extra} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
