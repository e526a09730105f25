"""The launcher's membership in a Ray cluster."""

import contextlib
import logging
import os
import secrets
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from base.errors import Aborted, UserError
from sut.clusters.guard import members
from sut.launcher.plan import Plan, RayNode, make_plan, unique_names
from sut.wire.launcher_messages import Connect, Connected

_STARTS = 3
"""Times that a start is tried: Ray gives up after 30 s, which a busy host exceeds."""
_OBJECT_STORE_BYTES = 80_000_000
"""Ray's least: nothing of ours goes through its object store."""
_INSTALL = "pip install 'mlperf-loadgen-sut[ray]', or scripts/install.sh ray in a clone"


class RaySession:
    """Joins the cluster, or starts one on this host; leaves it with the block."""

    def __init__(self, wanted: Connect, scratch: Path) -> None:
        """Connect and plan.

        Args:
            wanted: the coordinator's wishes.
            scratch: folder for the files of a Ray cluster that is started here.

        Raises:
            UserError: there is no Ray, no such cluster, or it does not fit.
        """
        # Read when Ray is imported.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise UserError(
                f"cluster=ray: Ray is not installed for {sys.executable} ({error}):"
                f" {_INSTALL}"
            ) from error
        self.ray: Any = ray
        self._labels = wanted.labels
        self._names: dict[str, str] = {}
        logging.getLogger("ray").setLevel(logging.WARNING)
        self.started = self._connect(wanted.address, scratch)
        try:
            context = ray.get_runtime_context()
            nodes = self.nodes()
            self.plan: Plan = make_plan(wanted, nodes)
            self.connected = Connected(
                ray=ray.__version__,
                address=context.gcs_address,
                host=ray.util.get_node_ip_address(),
                started=self.started,
                nodes=[node.name for node in nodes],
                replicas=self.plan.replicas,
                gpus=self.plan.demand.gpus,
                cpus=self.plan.demand.cpus,
            )
        except BaseException:
            self._leave(started=self.started)
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the cluster; one that was started here ends."""
        self._leave(started=self.started)

    def nodes(self) -> list[RayNode]:
        """Return the living nodes with the labels asked for, by name."""
        living = {
            node["NodeID"]: node for node in self.ray.nodes() if node.get("Alive")
        }
        hosts = {key: str(node["NodeManagerHostname"]) for key, node in living.items()}
        # A node keeps its name: a report compares nodes by it.
        if not self._names.keys() >= hosts.keys():
            self._names |= unique_names(hosts | self._hosts_known())
        free = self._free()
        nodes = []
        for key, node in living.items():
            labels = node.get("Labels") or {}
            if any(labels.get(name) != value for name, value in self._labels.items()):
                continue
            have = node["Resources"]
            left = free.get(key, have)
            nodes.append(
                RayNode(
                    id=key,
                    name=self._names[key],
                    host=hosts[key],
                    cpus=int(have.get("CPU", 0)),
                    gpus=int(have.get("GPU", 0)),
                    free_cpus=int(left.get("CPU", 0)),
                    free_gpus=int(left.get("GPU", 0)),
                )
            )
        return sorted(nodes, key=lambda node: node.name)

    def _hosts_known(self) -> dict[str, str]:
        return {
            node["NodeID"]: str(node["NodeManagerHostname"])
            for node in self.ray.nodes()
            if node["NodeID"] in self._names
        }

    def _free(self) -> dict[str, dict[str, float]]:
        """Return what is not reserved on each node; empty where Ray does not say."""
        # Not part of Ray's public interface: a release may lack it.
        with contextlib.suppress(ImportError, AttributeError):
            from ray._private.state import available_resources_per_node

            found: dict[str, dict[str, float]] = available_resources_per_node()
            return found
        return {}

    def _connect(self, address: str | None, scratch: Path) -> bool:
        """Join or start a cluster; return whether it was started."""
        if address == "local":
            return self._start(scratch)
        if (address or os.environ.get("RAY_ADDRESS", "")).startswith("ray://"):
            raise UserError(
                "cluster.address: Ray Client (ray://) has no way to its nodes: run on a"
                " node of the cluster with cluster.address=auto, or ray job submit"
            )
        try:
            self._init(address or "auto")
        except ConnectionError as error:
            if address is None and not os.environ.get("RAY_ADDRESS"):
                return self._start(scratch)
            raise self._refused(address, error) from error
        except (RuntimeError, ValueError) as error:
            raise self._refused(address, error) from error
        return False

    def _refused(self, address: str | None, error: Exception) -> UserError:
        where = address or "auto"
        if where == "auto" and (named := os.environ.get("RAY_ADDRESS")):
            where = f"auto (RAY_ADDRESS={named})"
        reason = " ".join(str(error).split())[:300]
        if "ersion mismatch" in reason:
            remedy = "install the same Ray and Python on this host"
        else:
            remedy = (
                "start Ray there (ray start --head), give HOST:PORT of a cluster that"
                " this host is part of, or cluster.address=local"
            )
        return UserError(f"cluster.address={where}: {reason}; {remedy}")

    def _start(self, scratch: Path) -> bool:
        # What Ray would keep in the home folder of the user, for all of their clusters.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        # Replicas must not run behind everything else on this host.
        os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  (Ray's spelling)
        for attempt in range(1, _STARTS + 1):
            try:
                self._init(
                    "local",
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _temp_dir=str(scratch),
                )
            except Exception as error:
                self._leave(started=True)
                reason = " ".join(str(error).split())[:300]
                if "AF_UNIX" in reason:
                    raise UserError(
                        f"{scratch}: too long for Ray's sockets; set TMPDIR to a"
                        " shorter path"
                    ) from error
                if attempt == _STARTS:
                    raise Aborted(
                        f"Ray cannot be started on this host: {reason}"
                    ) from error
            else:
                break
        return True

    def _leave(self, *, started: bool) -> None:
        """Leave the cluster; where it was started here, kill what outlives it."""
        self.ray.shutdown()
        if started:
            for pid in members(os.getpgid(0)):
                if pid != os.getpid():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def _init(self, address: str, **more: Any) -> None:
        self.ray.init(
            address=address,
            configure_logging=False,
            log_to_driver=False,
            namespace="mlperf-sut",
            **more,
        )
