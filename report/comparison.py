"""A run's replicas and nodes set against each other, measure by measure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from report.blocks import (
    Blocks,
    mean_by_block,
    overlap,
    time_blocks,
    work_by_block,
)
from report.noise import TOO_SHORT, Difference, compare, compare_alone
from report.run import Run
from report.samples import FloatArray, IntArray, Samples

Level = Literal["replica", "node"]
_ALONE = 1.2
"""Samples at once on a replica up to which they count as independent."""

RATES: dict[str, Callable[[Samples], FloatArray]] = {
    "samples_per_s": lambda s: np.ones(len(s)),
    "tokens_per_s": lambda s: s.output_tokens.astype(float),
}
"""What a sample adds to a rate."""

MEANS: dict[str, Callable[[Samples], FloatArray]] = {
    "service": lambda s: s.service_ns,
    "rate": lambda s: s.output_tokens / s.service_ns,
    "ttft": lambda s: s.ttft_ns,
    "tpot": lambda s: s.tpot_ns,
}
"""What is averaged over samples."""


@dataclass(kw_only=True)
class Comparison:
    """Sets the groups of one level against each other."""

    run: Run
    level: Level
    _found: dict[str, Difference] = field(default_factory=dict)

    @cached_property
    def members(self) -> list[list[int]]:
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
    def groups(self) -> IntArray:
        """Group of each completed sample; -1 where its replica left the run."""
        highest = max((r.replica for r in self.run.replicas), default=-1)
        group_of = np.full(highest + 2, -1, np.int64)
        for group, replicas in enumerate(self.members):
            for replica in replicas:
                if replica not in self.gone:
                    group_of[replica] = group
        return group_of[self.run.done.replica]

    @cached_property
    def gone(self) -> set[int]:
        """Replicas that left the run before its end."""
        kinds = ("fence", "death")
        return {
            e.replica
            for e in self.run.events
            if e.kind in kinds and e.replica is not None
        }

    @cached_property
    def strength(self) -> FloatArray:
        """Number of replicas of each group that stayed to the end."""
        return np.array(
            [sum(r not in self.gone for r in own) for own in self.members], float
        )

    @cached_property
    def blocks(self) -> Blocks:
        """Blocks of time in which all groups worked."""
        return time_blocks(self.run.done, self.groups)

    @property
    def method(self) -> str:
        """How differences are told from noise in this run."""
        return next((d.method for d in self._found.values() if d.tested), TOO_SHORT)

    def cells(self, measure: str) -> FloatArray:
        """Return a measure by group and block of time; rates are per replica."""
        done, count = self.run.done, len(self.members)
        if measure in RATES:
            work = RATES[measure](done)
            rates = work_by_block(done, self.groups, count, self.blocks, work)
            per_replica: FloatArray = rates / np.maximum(self.strength, 1)[:, None]
            return per_replica
        values = MEANS[measure](done)
        return mean_by_block(done, self.groups, count, self.blocks, values)

    def difference(self, measure: str) -> Difference:
        """Return how the groups differ in a measure of `RATES` or `MEANS`."""
        if measure not in self._found:
            self._found[measure] = self._compare(measure)
        return self._found[measure]

    def _compare(self, measure: str) -> Difference:
        if self.blocks.count:
            return compare(self.cells(measure))
        done = self.run.done
        if not len(done) or overlap(done, self.groups) > _ALONE:
            return compare(np.full((len(self.members), 0), np.nan))
        if measure in RATES:
            values = RATES[measure](done) / done.service_ns
        else:
            values = MEANS[measure](done)
        own = [values[self.groups == g] for g in range(len(self.members))]
        return compare_alone([v[~np.isnan(v)] for v in own])
