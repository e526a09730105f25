"""`python -m accuracy RUN_DIR`: scores a run again from its folder."""

import argparse
import sys
from pathlib import Path

from accuracy.score import score_run
from conf.errors import UserError
from record.errors import RecordError
from record.folder import RunFolder


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m accuracy", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder, e.g. runs/latest")
    folder = RunFolder(parser.parse_args().run)
    try:
        result = score_run(folder)
    except (UserError, RecordError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, value in result.scores.items():
        print(f"{value:9.4f}  {name}")
    print(f"{result.gen_len:9d}  gen_len, characters of {result.gen_num} answers")
    target = "; ".join(result.missed) or "reached"
    print(f"target: {target if result.target_applies else 'does not apply'}")
    print(f"sentence splitter: {result.splitter}")
    return 0 if result.good else 1


if __name__ == "__main__":
    sys.exit(main())
