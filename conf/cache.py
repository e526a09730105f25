"""Where files that outlive a run are kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return this package's folder in the user's cache (XDG_CACHE_HOME)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mlperf-loadgen-sut"
