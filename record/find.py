"""Finds the runs and campaigns in a folder."""

import re
from pathlib import Path

from record.campaign import NAME

_STAMP = re.compile(r"\d{8}T\d{6}Z-")


def is_run(path: Path) -> bool:
    """Return whether `path` is a run folder."""
    return (path / "config.yaml").is_file()


def is_campaign(path: Path) -> bool:
    """Return whether `path` is the folder of a campaign."""
    return (path / NAME).is_file()


def find_runs(root: Path) -> list[Path]:
    """Return the run folders in `root` and in the campaigns in it, oldest first.

    Links (`latest`) are left out. A folder that cannot be read counts as empty.
    """
    found = []
    for path in _folders(root):
        if is_run(path):
            found.append(path)
        elif is_campaign(path):
            found += [inner for inner in _folders(path) if is_run(inner)]
    return sorted(found, key=_order)


def newest_run(root: Path) -> Path | None:
    """Return the run in `root`, or in a campaign in it, that was started last."""
    runs = find_runs(root)
    return runs[-1] if runs else None


def _folders(root: Path) -> list[Path]:
    try:
        return [p for p in root.iterdir() if p.is_dir() and not p.is_symlink()]
    except OSError:
        return []


def _order(path: Path) -> tuple[str, float]:
    """Return a key by the time of the start, which the name begins with.

    Names of one second differ in a counter that no text sorts, hence the time, too.
    """
    stamp = _STAMP.match(path.name)
    try:
        changed = (path / "config.yaml").stat().st_mtime
    except OSError:
        changed = 0.0
    return (stamp[0] if stamp else "", changed)
