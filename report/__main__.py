"""`python -m report RUN_DIR...`: writes each run's report again from its folder."""

import argparse
import sys
from pathlib import Path

from record.errors import RecordError
from record.folder import RunFolder
from report.build import write_report


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m report", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    for path in parser.parse_args().runs:
        try:
            print(write_report(RunFolder(path)))
        except (RecordError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
