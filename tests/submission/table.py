"""Prints which damaged trees the official checker accepts, for docs/submission.md.

python -m tests.submission.table CHECKOUT_OF_MLCOMMONS_INFERENCE
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from submission.official import Checkout, checker_findings
from tests.submission.damage import DAMAGES, Damage
from tests.submission.trees import Tree, unpack

MISSED, FOUND, CRASHED = "misses it", "finds it", "stops with a traceback"


def verdict(checkout: Checkout, base: Tree, spoil: Damage, scratch: Path) -> str:
    """Return what the official checker does with a damaged copy of `base`."""
    tree = base.copy(scratch / "tree")
    spoil.act(tree)
    complaints = checker_findings(checkout, tree.root, scratch)
    if not complaints:
        return MISSED
    return CRASHED if "Traceback" in (scratch / "checker.log").read_text() else FOUND


def rows(checkout: Checkout) -> Iterator[str]:
    """Yield the lines of the table."""
    with tempfile.TemporaryDirectory() as folder:
        base = unpack(Path(folder) / "base").close().with_made_up_accuracy()
        for spoil in DAMAGES:
            with tempfile.TemporaryDirectory() as scratch:
                official = verdict(checkout, base, spoil, Path(scratch))
            yield f"| {spoil.what} | `{spoil.check}` | {official} |"


if __name__ == "__main__":
    for row in rows(Checkout(Path(sys.argv[1]).resolve())):
        print(row, flush=True)
