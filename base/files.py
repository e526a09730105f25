"""Our own files in a checkout and in an installed wheel; the user's cache folder."""

import os
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path, PurePosixPath

from base.errors import UserError

ROOT = Path(str(files("base"))).parent
"""The folder that holds the packages: a checkout, or an environment's site-packages."""


def data_path(package: str, name: str) -> Path:
    """Return the path of a file that `package` carries.

    Args:
        package: a package of ours; pip always unpacks it.
        name: path inside the package.
    """
    return Path(str(files(package).joinpath(name)))


def carried_path(name: str, package: str = "base", root: Path = ROOT) -> Path:
    """Return the path of a file that a checkout has outside of the packages.

    Args:
        name: its path in a checkout, e.g. `mlperf.conf`.
        package: path of the package into which the wheel puts it (see `setup.py`).
        root: the folder that holds the packages.
    """
    inside = root / package / Path(name).name
    return inside if inside.exists() else root / name


_POINTER = b"version https://git-lfs"


def refuse_lfs_pointer(path: Path, data: bytes) -> None:
    """Refuse the file `path`, which begins with `data`, if it is a pointer.

    Raises:
        UserError: it is a pointer; the message says how to get the file.
    """
    if data.startswith(_POINTER):
        raise UserError(
            f"{path}: a Git LFS pointer, not the file; run `git lfs pull` in its"
            " repository, or download the file again"
        )


LISTING = "SOURCES.txt"
"""Lists every file of a copy, one on each line, since a copy is no git checkout."""


def project_files(root: Path = ROOT) -> list[str]:
    """Return the project's files, relative to `root` and sorted.

    Names that start with a dot are left out: they serve the repository.

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
            f"{root}: neither a git checkout nor a copy with {LISTING}, so the"
            " project's files are not known; use a checkout"
        )
    return sorted(name for name in names if name and not name.startswith("."))


def copy_project(target: Path, root: Path = ROOT) -> None:
    """Copy the project's files in their current state into the new folder `target`.

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


def cache_folder() -> Path:
    """Return this package's folder in the user's cache (XDG_CACHE_HOME).

    Raises:
        UserError: there is no home folder.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "mlperf-loadgen-sut"
    except RuntimeError as error:
        raise UserError(
            "no home folder for the cache; set HOME or XDG_CACHE_HOME to a writable"
            " folder"
        ) from error
