"""What every package needs; it imports no other package of ours.

Importing it removes the user's working directory from the module path. `python -m`
puts that directory first, so a `conf/` or `report/` of the user would be imported
instead of ours. Packages with commands therefore import `base` before anything else.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def _drop_working_directory() -> None:
    # Python sets argv[0] to "-m" only while it looks for the module to run.
    if sys.argv[:1] != ["-m"] or sys.flags.safe_path or not sys.path:
        return
    first = Path(sys.path[0] or ".").resolve()
    if first != _ROOT and first == Path.cwd().resolve():
        del sys.path[0]


_drop_working_directory()
