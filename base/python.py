"""Starts modules of ours as processes, independent of the working directory.

`python -m` puts the working directory first on the module path, so a `conf/` or
`record/` of the user would be imported instead of ours. `-P` keeps it off; where the
packages are not installed into the interpreter's own folders, PYTHONPATH names them.
"""

import os
import site
import sys
from collections.abc import Mapping
from pathlib import Path

from base.data import ROOT


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs `module`; it needs `module_environment`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment(
    environment: Mapping[str, str] | None = None, root: Path = ROOT
) -> dict[str, str]:
    """Return an environment in which `module_command` finds our packages.

    Args:
        environment: what the process gets otherwise; None: this process's own.
        root: the folder that holds the packages.
    """
    known = dict(os.environ if environment is None else environment)
    # Python has the environment's own folder on its path already. PYTHONPATH would put
    # all that is installed there before the standard library.
    if root.resolve() not in _site_folders():
        paths = [str(root), *filter(None, [known.get("PYTHONPATH")])]
        known["PYTHONPATH"] = os.pathsep.join(paths)
    return known


def _site_folders() -> list[Path]:
    folders = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        folders = [*folders, site.getusersitepackages()]
    return [Path(folder).resolve() for folder in folders]
