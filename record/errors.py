"""What readers of a run folder raise."""

from pathlib import Path

from base.errors import ExitCode, SutError


class RecordError(SutError):
    """A file of a run folder is missing or damaged."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, path: Path, problem: str, line: int | None = None) -> None:
        """Say which file, where in it, and what is wrong."""
        where = f"{path}:{line}" if line else str(path)
        super().__init__(f"{where}: {problem}")
