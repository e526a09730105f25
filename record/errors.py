"""What readers of a run folder raise."""

from pathlib import Path


class RecordError(Exception):
    """A file of a run folder is missing or damaged."""

    def __init__(self, path: Path, problem: str, line: int | None = None) -> None:
        """Say which file, where in it, and what is wrong."""
        where = f"{path}:{line}" if line else str(path)
        super().__init__(f"{where}: {problem}")
