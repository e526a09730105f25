"""One replica that batches continuously, step by step."""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tests.simulated.cluster import Cluster, Fault


@dataclass(slots=True)
class Item:
    seq: int
    prompt: int
    output: int
    issued: float
    dispatched: float = 0.0
    arrived: float = 0.0
    scheduled: float = 0.0
    first: float = 0.0
    left: int = 0
    attempt: int = 1


class Replica:
    def __init__(self, number: int, cluster: Cluster, rng: np.random.Generator) -> None:
        self.number, self.cluster, self.rng = number, cluster, rng
        self.fault = cluster.faults.get(number, Fault())
        self.speed = float(rng.normal(1, cluster.device_spread))
        self.waiting: deque[Item] = deque()
        self.ending: dict[int, list[Item]] = defaultdict(list)
        self.step = self.running = self.tokens = 0
        self.noise: Iterator[float] = iter(())
        self.dead = False
        self.trail: list[tuple[float, int, int]] = []

    @property
    def busy(self) -> bool:
        return bool(self.running or self.waiting)

    def advance(self, now: float, span: float) -> tuple[float, list[Item]]:
        """Do one step; return when it ends and which samples end with it."""
        budget = self.cluster.budget
        begun, prompts = [], 0
        while self.waiting and budget and self.running < self.cluster.max_seqs:
            item = self.waiting[0]
            if item.arrived > now:
                break
            if not item.scheduled:
                item.scheduled, item.left = now, item.prompt
            taken = min(budget, item.left)
            budget, item.left, prompts = (
                budget - taken,
                item.left - taken,
                prompts + taken,
            )
            if item.left:
                break
            begun.append(self.waiting.popleft())
            self.running += 1
        cost = (
            self.cluster.step_s
            + self.cluster.prefill_s * prompts
            + self.cluster.decode_s * self.running
        )
        end = now + cost * self.speed * self._factor(now, span) * self._luck()
        self.step += 1
        for item in begun:
            item.first = end
            self.ending[self.step + item.output - 1].append(item)
        done = self.ending.pop(self.step, [])
        self.running -= len(done)
        self.trail.append((end, self.running, len(self.waiting)))
        return end, done

    def _factor(self, now: float, span: float) -> float:
        fault = self.fault
        strength = self.cluster.strength(fault, now)
        factor = 1 + (fault.slowdown - 1) * strength
        if fault.throttled_from is not None and now > fault.throttled_from * span:
            factor *= 1.3
        if now < fault.cold_s:
            factor *= fault.cold_factor
        if fault.contended:
            factor *= 1 + fault.contended * self.rng.exponential(1.0)
        return factor

    def _luck(self) -> float:
        value = next(self.noise, None)
        if value is None:
            draws = np.exp(self.rng.normal(0, 0.05, 4096))
            rare = self.rng.random(4096) < 0.001
            draws[rare] *= 1 + self.rng.pareto(2.5, int(rare.sum())) * 5
            self.noise = iter(draws.tolist())
            value = next(self.noise)
        return float(value)
