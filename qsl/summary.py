"""The summary of a data set file that `qsl.prepare` prints at the end."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from base.benchmark import SAMPLES

_SUITES = {count: suite.value for suite, count in SAMPLES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A data set file: its digest and its prompts' lengths in tokens."""

    path: Path
    sha256: str
    lengths: Sequence[int]

    def lines(self) -> Iterator[str]:
        """Yield the lines to print."""
        count = len(self.lengths)
        suite = f", as in the {_SUITES[count]} suite" if count in _SUITES else ""
        low, median, p90, high = np.percentile(self.lengths, [0, 50, 90, 100])
        yield f"{self.path}: {count} samples{suite}"
        yield f"sha256 {self.sha256}"
        yield (
            f"prompt tokens: min {low:.0f}, median {median:.0f},"
            f" mean {np.mean(self.lengths):.1f}, p90 {p90:.0f}, max {high:.0f},"
            f" total {sum(self.lengths)}"
        )


def summarize(path: Path, lengths: Sequence[int]) -> Summary:
    """Return the summary of the file `path`, whose prompts have these lengths.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Summary(path=path, sha256=digest, lengths=lengths)
