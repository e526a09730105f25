"""The node agents that the launcher has started through Ray."""

import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from base.decode import printable
from base.errors import ExitCode
from base.files import ROOT
from sut.launcher import actor as actor_module
from sut.launcher.plan import Demand, assign
from sut.launcher.session import RaySession
from sut.wire.launcher_messages import Ended, FromLauncher, Note, Placed, Serve

_RESERVE_S = 5.0
"""Seconds in which Ray reserves what is free; after that another run was quicker."""
_AVOID_S = 5.0
_REPORT_S = 10.0
"""Between two lines about replicas for which no node has room."""
_KILL_S = 10.0
_NO_PACKAGE = "No module named 'sut'"

_PROCESS = secrets.token_hex(4)
"""In the names of placement groups, which must differ in a whole Ray cluster."""


@dataclass(slots=True, kw_only=True)
class _Agent:
    """One node agent, from the wish for it to its end."""

    name: str
    replica: int
    node: str = ""
    """Id of its node; empty: none has room yet."""
    since: float = 0.0
    """When its resources were asked for."""
    group: Any = None
    """Ray's placement group."""
    actor: Any = None
    prepared: Any = None
    """Ray's reference to what `AgentActor.prepare` returns."""
    served: Any = None


@dataclass(slots=True, kw_only=True)
class Agents:
    """Keeps an agent for each replica, on nodes with room for it."""

    session: RaySession
    send: Callable[[FromLauncher], None]
    spread: bool
    serve: Serve | None = None
    """How agents reach the coordinator."""
    _agents: dict[int, _Agent] = field(default_factory=dict, init=False)
    _full: dict[str, float] = field(default_factory=dict, init=False)
    """When nodes turned out to be full or lost an agent, by id."""
    _reported: float = field(default_factory=time.monotonic, init=False)
    _warned: set[str] = field(default_factory=set, init=False)
    _actor: Any = field(default=None, init=False)
    _shared: set[str] = field(default_factory=set, init=False)
    """Hosts of which something else had cores when the run began."""

    def __post_init__(self) -> None:
        """Have Ray carry the actor by value."""
        ray = self.session.ray
        nodes = self.session.nodes()
        self._shared = {node.host for node in nodes if node.free_cpus < node.cpus}
        ray.cloudpickle.register_pickle_by_value(actor_module)
        self._actor = ray.remote(actor_module.AgentActor)

    @property
    def _demand(self) -> Demand:
        return self.session.plan.demand

    def launch(self, replica: int, name: str) -> None:
        """Want an agent called `name` for a replica, instead of the one that it had."""
        if (before := self._agents.pop(replica, None)) is not None:
            self._release(before)
            # The coordinator may know before Ray does that this node is gone.
            self._full[before.node] = time.monotonic()
        self._agents[replica] = _Agent(name=name, replica=replica)

    def look(self) -> None:
        """Take the next step with each agent; waits for nothing."""
        self._reserve()
        for agent in list(self._agents.values()):
            if agent.group is not None and agent.actor is None:
                self._start(agent)
        self._take_results()

    def close(self) -> None:
        """Wait until agents have left, then have Ray end the others."""
        ray = self.session.ray
        running = [a.served for a in self._agents.values() if a.served is not None]
        with contextlib.suppress(Exception):
            ray.wait(running, num_returns=len(running), timeout=_KILL_S)
        for agent in self._agents.values():
            self._release(agent)
        self._agents.clear()

    def _reserve(self) -> None:
        waiting = [agent for agent in self._agents.values() if agent.group is None]
        if not waiting:
            return
        ray, now = self.session.ray, time.monotonic()
        nodes = self.session.nodes()
        self._full = {k: t for k, t in self._full.items() if now - t < _AVOID_S}
        found = assign(
            [agent.replica for agent in waiting],
            nodes,
            self._demand,
            Counter(agent.node for agent in self._agents.values() if agent.node),
            spread=self.spread,
            avoid=self._full,
        )
        bundle = {"CPU": self._demand.cpus, "GPU": self._demand.gpus}
        for agent in waiting:
            if (node := found.get(agent.replica)) is None:
                continue
            agent.node, agent.since = node, now
            agent.group = ray.util.placement_group(
                [{name: amount for name, amount in bundle.items() if amount}],
                strategy="STRICT_PACK",
                name=f"mlperf-sut-{_PROCESS}-{agent.name}",
                bundle_label_selector=[{"ray.io/node-id": node}],
            )
        if len(found) < len(waiting) and now - self._reported > _REPORT_S:
            self._reported = now
            free = "; ".join(
                f"{n.name}: {n.free_gpus} GPU, {n.free_cpus} CPU" for n in nodes[:8]
            )
            self.send(
                Note(
                    f"{len(waiting) - len(found)} replica(s) wait for a node with"
                    f" {self._demand} free; free are {free or 'no nodes'}"
                )
            )

    def _start(self, agent: _Agent) -> None:
        """Start the actor as soon as its resources are reserved."""
        ray = self.session.ray
        if ray.util.placement_group_table(agent.group).get("state") != "CREATED":
            if time.monotonic() - agent.since > _RESERVE_S:
                self._full[agent.node] = time.monotonic()
                self._release(agent)
                agent.node, agent.group = "", None
            return
        strategy = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(
            placement_group=agent.group, placement_group_bundle_index=0
        )
        agent.actor = self._actor.options(
            num_cpus=self._demand.cpus,
            # Without it Ray hides all GPUs.
            num_gpus=self._demand.gpus,
            scheduling_strategy=strategy,
            max_restarts=0,
        ).remote()
        agent.prepared = agent.actor.prepare.remote()
        assert self.serve is not None
        options = [
            *("--connect", self.serve.address, "--key", "-", "--name", agent.name),
            *("--once", "--wait-s", f"{self.serve.wait_s:g}"),
        ]
        agent.served = agent.actor.serve.remote(options, self.serve.key, str(ROOT))
        node = next((n for n in self.session.nodes() if n.id == agent.node), None)
        if node is not None:
            self.send(
                Placed(
                    agent=agent.name,
                    node=node.name,
                    host=node.host,
                    slots=self._slots(node.host),
                    shared=node.host in self._shared,
                )
            )

    def _slots(self, host: str) -> int:
        nodes = [node for node in self.session.nodes() if node.host == host]
        return sum(self._demand.room(node.cpus, node.gpus) for node in nodes)

    def _take_results(self) -> None:
        ray = self.session.ray
        waited = {
            reference: agent
            for agent in self._agents.values()
            for reference in (agent.prepared, agent.served)
            if reference is not None
        }
        if not waited:
            return
        ready, _ = ray.wait(list(waited), num_returns=len(waited), timeout=0)
        for reference in ready:
            agent = waited[reference]
            try:
                result = ray.get(reference)
            except Exception as error:  # noqa: BLE001  (Ray raises what it likes)
                self._end(agent, _reason(error), misconfigured=False)
                continue
            if reference is agent.prepared:
                agent.prepared = None
                self._warn(agent, result)
            else:
                code, output = result
                cause, misconfigured = _ending(code, output)
                self._end(agent, cause, misconfigured=misconfigured)

    def _warn(self, agent: _Agent, facts: dict[str, Any]) -> None:
        if facts["nice"] > 0 and agent.node not in self._warned:
            self._warned.add(agent.node)
            self.send(
                Note(
                    f"warning: replicas run at nice {facts['nice']}, as Ray starts its"
                    " workers, and only root can undo that: start Ray on the nodes with"
                    " RAY_worker_niceness=0"
                )
            )

    def _end(self, agent: _Agent, cause: str, *, misconfigured: bool) -> None:
        if self._agents.get(agent.replica) is agent:
            del self._agents[agent.replica]
            self._release(agent)
            self._full[agent.node] = time.monotonic()
            self.send(Ended(agent=agent.name, cause=cause, misconfigured=misconfigured))

    def _release(self, agent: _Agent) -> None:
        """Have Ray end the actor and give its resources back."""
        ray = self.session.ray
        # Its node may be gone.
        with contextlib.suppress(Exception):
            if agent.actor is not None:
                ray.kill(agent.actor)
        with contextlib.suppress(Exception):
            if agent.group is not None:
                ray.util.remove_placement_group(agent.group)


def _reason(error: Exception) -> str:
    """Return why Ray lost an actor, in a line."""
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    named = [x for x in lines if "node" in x.lower() or "died" in x.lower()]
    return printable((named or lines or [type(error).__name__])[0])[:300]


def _ending(code: int, output: str) -> tuple[str, bool]:
    """Return how a node agent ended, and whether that is a mistake of the user."""
    if _NO_PACKAGE in output:
        return (
            "this package is not installed there: install it on every node of the Ray"
            " cluster, or use ray job submit --working-dir",
            True,
        )
    lines = [line for line in output.splitlines() if line.strip()]
    last = printable(lines[-1].strip()) if lines else "no output"
    return f"ended with code {code}: {last}", code == ExitCode.BAD_INPUT
