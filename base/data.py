"""Finds the files that the packages read, in a checkout and in an installed wheel."""

from importlib.resources import files
from pathlib import Path

ROOT = Path(str(files("base"))).parent
"""The folder that holds the packages: a checkout, or an environment's site-packages."""


def data_path(package: str, name: str) -> Path:
    """Return the path of a file that `package` carries.

    Args:
        package: a package of ours; pip always unpacks it.
        name: path inside of it.
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
