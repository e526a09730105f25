"""Blocks of time, and the work of each group of replicas in each block.

A run is cut into equal blocks of time, each at least two service latencies long, so
that neighboring blocks share little of one batch. This is the method of batch means
(Law and Kelton, Simulation Modeling and Analysis, section 9.5.3).
"""

from dataclasses import dataclass

import numpy as np

from report.reading.samples import FloatArray, IntArray, Samples

FEWEST_BLOCKS = 6
ALONE = 1.2
"""Samples at once on a replica up to which samples count as independent."""
_MOST_BLOCKS = 24
_LATENCIES_IN_BLOCK = 2.0


@dataclass(slots=True, kw_only=True)
class Blocks:
    """Edges of equal blocks of time, in ns of the coordinator's clock."""

    edges: FloatArray

    @property
    def count(self) -> int:
        """Number of blocks."""
        return max(0, len(self.edges) - 1)

    @property
    def seconds(self) -> float:
        """Length of one block."""
        return float(self.edges[1] - self.edges[0]) / 1e9 if self.count else 0.0


def time_blocks(samples: Samples, groups: IntArray) -> Blocks:
    """Return blocks of time in which all groups worked; no block if the run is short.

    Args:
        samples: completed samples.
        groups: group of each sample, -1 for none.
    """
    member = groups >= 0
    if not member.any():
        return Blocks(edges=np.array([]))
    ends = np.full(int(groups.max()) + 1, -1, np.int64)
    np.maximum.at(ends, groups[member], samples.completed[member])
    begin, end = float(samples.started[member].min()), float(ends[ends >= 0].min())
    service = samples.service_ns[member]
    length = _LATENCIES_IN_BLOCK * float(np.nanmedian(service))
    count = int(min(_MOST_BLOCKS, (end - begin) / max(length, 1.0)))
    if count < FEWEST_BLOCKS:
        return Blocks(edges=np.array([]))
    return Blocks(edges=np.linspace(begin, end, count + 1))


def work_by_block(
    samples: Samples, groups: IntArray, count: int, blocks: Blocks, work: FloatArray
) -> FloatArray:
    """Return the work per second of each group in each block, shape (group, block).

    A sample's work is spread evenly over the time from its prefill to its completion.
    If it counted at its end only, samples that run in step would come in waves.

    Args:
        samples: completed samples.
        groups: group of each sample, -1 for none.
        count: number of groups.
        blocks: blocks of time.
        work: of each sample, e.g. its output tokens.
    """
    member = groups >= 0
    begin = samples.started[member].astype(float)
    length = np.maximum(samples.completed[member] - begin, 1.0)
    done = np.zeros((count, len(blocks.edges)))
    for index, edge in enumerate(blocks.edges):
        share = np.clip((edge - begin) / length, 0, 1)
        done[:, index] = np.bincount(groups[member], share * work[member], count)
    rates: FloatArray = np.diff(done, axis=1) / blocks.seconds
    return rates


def mean_by_block(
    samples: Samples, groups: IntArray, count: int, blocks: Blocks, values: FloatArray
) -> FloatArray:
    """Return the mean of `values` by group and block of completion; NaN if empty."""
    block = np.searchsorted(blocks.edges, samples.completed, side="right") - 1
    keep = (groups >= 0) & (block >= 0) & (block < blocks.count) & ~np.isnan(values)
    cell = groups[keep] * blocks.count + block[keep]
    size = count * blocks.count
    total = np.bincount(cell, values[keep], size)
    number = np.bincount(cell, minlength=size).astype(float)
    means: FloatArray = np.divide(
        total, number, out=np.full(size, np.nan), where=number > 0
    )
    return means.reshape(count, blocks.count)


def overlap(samples: Samples, groups: IntArray) -> float:
    """Return the mean number of samples that a group processed at once."""
    member = groups >= 0
    if not member.any():
        return 0.0
    busy = np.nansum(samples.service_ns[member])
    span = samples.completed[member].max() - samples.dispatched[member].min()
    return float(busy / max(span, 1) / len(np.unique(groups[member])))
