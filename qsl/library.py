"""LoadGen's view of a data set: the query sample library."""

from collections.abc import Iterator
from contextlib import contextmanager

import mlperf_loadgen as lg

from qsl.dataset import Dataset


@contextmanager
def query_sample_library(dataset: Dataset, performance_count: int) -> Iterator[object]:
    """Yield a LoadGen QSL over `dataset`, which is destroyed afterwards.

    Samples are already in memory, so LoadGen's load and unload calls do nothing.

    Args:
        dataset: the samples.
        performance_count: samples that performance mode draws from.
    """

    def nothing(_indices: list[int]) -> None:
        return

    handle = lg.ConstructQSL(len(dataset), performance_count, nothing, nothing)
    try:
        yield handle
    finally:
        lg.DestroyQSL(handle)
