"""Comparison of a run's replicas, and of its nodes, measure by measure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from report.reading.run import Run
from report.reading.samples import BoolArray, FloatArray, IntArray, Samples
from report.statistics.blocks import (
    ALONE,
    Blocks,
    mean_by_block,
    overlap,
    time_blocks,
    work_by_block,
)
from report.statistics.noise import (
    SINGLE,
    TOO_SHORT,
    Difference,
    compare,
    compare_alone,
)

Level = Literal["replica", "node"]
_WHOLE = 0.999
_LEAST_PRESENT = 0.5
"""Number of replicas below which a node's block is left out."""

RATES: dict[str, Callable[[Samples], FloatArray]] = {
    "samples_per_s": lambda s: np.ones(len(s)),
    "tokens_per_s": lambda s: s.output_tokens.astype(float),
}
"""What each sample adds to a rate, by measure."""

MEANS: dict[str, Callable[[Samples], FloatArray]] = {
    "service": lambda s: s.service_ns,
    "rate": lambda s: s.output_tokens / s.service_ns,
    "ttft": lambda s: s.ttft_ns,
    "tpot": lambda s: s.tpot_ns,
}
"""What is averaged over samples, by measure."""


@dataclass(kw_only=True)
class GroupComparison:
    """Compares the groups of one level: single replicas, or nodes."""

    run: Run
    level: Level
    _found: dict[str, Difference] = field(default_factory=dict)

    @cached_property
    def groups(self) -> list[list[int]]:
        """Replicas of each group."""
        if self.level == "replica":
            return [[record.replica] for record in self.run.replicas]
        return [
            [r.replica for r in self.run.replicas if r.node == node]
            for node in self.run.nodes
        ]

    @cached_property
    def names(self) -> list[str]:
        """Name of each group."""
        if self.level == "node":
            return self.run.nodes
        return [f"replica {record.replica}" for record in self.run.replicas]

    @cached_property
    def group_of_sample(self) -> IntArray:
        """Group of each completed sample; -1 if its replica left the run."""
        highest = max((r.replica for r in self.run.replicas), default=-1)
        group_of = np.full(highest + 2, -1, np.int64)
        for group, replicas in enumerate(self.groups):
            for replica in replicas:
                if replica not in self.gone:
                    group_of[replica] = group
        return group_of[self.run.done.replica]

    @property
    def gone(self) -> set[int]:
        """Replicas that left the run and did not come back."""
        return self.run.gone

    @cached_property
    def replicas_present(self) -> FloatArray:
        """Number of replicas of each group present in each block, (group, block).

        NaN if none was. A replica counts for itself only if it was present for the
        whole block. It counts for its node by the share of the block.
        """
        edges = self.blocks.edges
        found = np.zeros((len(self.groups), self.blocks.count))
        for group, replicas in enumerate(self.groups):
            for replica in set(replicas) - self.gone:
                present = np.ones(self.blocks.count)
                for begin, end in self.run.away(replica):
                    inside = np.minimum(edges[1:], end) - np.maximum(edges[:-1], begin)
                    present -= np.maximum(inside, 0) / np.diff(edges)
                found[group] += present if self.level == "node" else present > _WHOLE
        found[found < _LEAST_PRESENT] = np.nan
        return found

    @cached_property
    def blocks(self) -> Blocks:
        """Blocks of time in which all groups worked."""
        return time_blocks(self.run.done, self.group_of_sample)

    @property
    def method(self) -> str:
        """How differences are separated from noise in this run."""
        untested = SINGLE if len(self.groups) < 2 else TOO_SHORT
        methods = [d.method for d in self._found.values()]
        tested = [d.method for d in self._found.values() if d.tested]
        return (*tested, *methods, untested)[0]

    def cells(self, measure: str) -> FloatArray:
        """Return a measure, shape (group, block); rates are per replica."""
        done, count = self.run.done, len(self.groups)
        if measure in RATES:
            work = RATES[measure](done)
            rates = work_by_block(done, self.group_of_sample, count, self.blocks, work)
            per_replica: FloatArray = rates / self.replicas_present
            return per_replica
        values = MEANS[measure](done)
        means = mean_by_block(done, self.group_of_sample, count, self.blocks, values)
        return np.where(np.isnan(self.replicas_present), np.nan, means)

    def difference(self, measure: str) -> Difference:
        """Return how the groups differ in a measure of `RATES` or `MEANS`."""
        if measure not in self._found:
            self._found[measure] = self._compare(measure)
        return self._found[measure]

    def difference_from(self, measure: str, reference: BoolArray) -> Difference:
        """Return how the groups differ from the median of some of them.

        Args:
            measure: one of `RATES` or `MEANS`.
            reference: the groups to compare with.
        """
        return compare(self.cells(measure), reference)

    def _compare(self, measure: str) -> Difference:
        if self.blocks.count:
            return compare(self.cells(measure))
        done = self.run.done
        if not len(done) or overlap(done, self.group_of_sample) > ALONE:
            return compare(np.full((len(self.groups), 0), np.nan))
        if measure in RATES:
            values = RATES[measure](done) / done.service_ns
        else:
            values = MEANS[measure](done)
        own = [values[self.group_of_sample == g] for g in range(len(self.groups))]
        return compare_alone([v[~np.isnan(v)] for v in own])
