"""One thing that speaks against uploading a tree."""

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFinding:
    """What is wrong where, and what to do."""

    check: str
    """Name of the check, the same in every run of this package."""
    path: Path
    problem: str
    remedy: str

    def within(self, root: Path) -> "TreeFinding":
        """Return it with a path relative to `root`."""
        if not self.path.is_relative_to(root):
            return self
        return replace(self, path=self.path.relative_to(root))

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.path}: {self.problem}; {self.remedy} [{self.check}]"


AGAIN = "make the run again with `python -m submission run`"
BUILD = "build the tree again"
