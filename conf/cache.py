"""Where files that outlive a run are kept."""

import os
from pathlib import Path

from base.errors import UserError


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
            "no home folder is known to keep files in; set HOME or XDG_CACHE_HOME to a"
            " folder that can be written"
        ) from error
