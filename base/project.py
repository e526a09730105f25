"""Which files this project consists of: what git tracks, wherever it was unpacked."""

import shutil
import subprocess
from pathlib import Path, PurePosixPath

from base.data import ROOT
from base.errors import UserError

LISTING = "SOURCES.txt"
"""Names every file of a copy, one a line: a copy has no git to ask."""


def project_files(root: Path = ROOT) -> list[str]:
    """Return the project's files, relative to `root` and sorted.

    What starts with a dot is left out: it serves the repository, not the project.

    Raises:
        UserError: `root` is neither a checkout nor a copy made by `copy_project`.
    """
    listing = root / LISTING
    if listing.is_file():
        return listing.read_text().splitlines()
    command = ["git", "-C", str(root), "ls-files", "-z"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        names = done.stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = []
    if "setup.py" not in names:
        raise UserError(
            f"{root}: neither a git checkout nor a copy of one with {LISTING}, so"
            " nothing says which files are the project's; use a checkout"
        )
    return sorted(name for name in names if name and not name.startswith("."))


def copy_project(target: Path, root: Path = ROOT) -> None:
    """Copy the project's files, as they are now, into the new folder `target`.

    Raises:
        UserError: `root` is not a checkout, or a file that git tracks is missing.
        OSError: a file cannot be read or written.
    """
    names = project_files(root)
    gone = [name for name in names if not (root / name).is_file()]
    if gone:
        raise UserError(f"{root / gone[0]}: git tracks this file, but it is missing")
    for folder in sorted({PurePosixPath(name).parent for name in names}):
        (target / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(root / name, target / name)
    list_files(target, names)


def list_files(target: Path, names: list[str]) -> None:
    """Write the list that makes the folder `target` a copy of the project.

    Raises:
        OSError: it cannot be written.
    """
    (target / LISTING).write_text("".join(f"{name}\n" for name in names))
