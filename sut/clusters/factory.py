"""Makes the cluster that the configuration names."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from base.decode import whole_number
from base.errors import UserError
from base.files import cache_folder
from conf.clusters import ClusterConfig, ExternalConfig, RayConfig
from record.folder import RunFolder
from record.source import source_digest
from sut.clusters.agents import AgentRegistration, connect, serve_at
from sut.clusters.base import Cluster
from sut.clusters.external import ExternalCluster
from sut.clusters.launcher import Launcher
from sut.clusters.local import LocalCluster
from sut.clusters.placement import place, this_host
from sut.clusters.ray import RayCluster
from sut.clusters.registration import NodeRegistration, NodesSocket
from sut.wire.keys import new_key, read_key
from sut.wire.sockets import CoordinatorSocket, Endpoint

_LAST_PORT = 65535


def make_cluster(
    config: ClusterConfig,
    folder: RunFolder,
    scratch: Callable[[], Path],
    environment: dict[str, str],
    notify: Callable[[str], None],
) -> tuple[Cluster, CoordinatorSocket]:
    """Return the cluster, not started, and the socket to which its replicas connect.

    Waits for the nodes of an external cluster, and for Ray.

    Args:
        config: of the cluster.
        folder: run folder, which takes the output of replicas.
        scratch: makes the folder for temporary files, which is deleted after the run.
            It is called only if a part of the run is on this host.
        environment: variables set for every replica.
        notify: called with each line for the user.

    Raises:
        UserError: hosts do not have what the configuration asks for, or do not join.
        Aborted: Ray failed.
    """
    if isinstance(config, ExternalConfig):
        return _external(config, folder, environment, notify)
    if isinstance(config, RayConfig):
        return _ray(config, folder, environment, notify)
    placements = place(config, [this_host()], keep_shares=False)
    with _as_user_error(
        "temporary folder", "set TMPDIR to a folder that can be written"
    ):
        temporary = scratch()
    with _as_user_error(f"{temporary}", "set TMPDIR to another folder"):
        socket = CoordinatorSocket(Endpoint(address=f"ipc://{temporary / 'socket'}"))
    cluster = LocalCluster(
        placements, folder, temporary, cache_folder() / "compile", environment
    )
    return cluster, socket


def listening(listen: str) -> tuple[str, int]:
    """Return the host and the port of `cluster.listen`.

    Raises:
        UserError: it is no address, or no port follows it.
    """
    host, _, port = listen.rpartition(":")
    number = whole_number(port, most=_LAST_PORT - 1)
    if not host or not number:
        raise UserError(f"cluster.listen={listen}: write HOST:PORT, e.g. 0.0.0.0:5555")
    return host, number


def _external(
    config: ExternalConfig,
    folder: RunFolder,
    environment: dict[str, str],
    notify: Callable[[str], None],
) -> tuple[Cluster, CoordinatorSocket]:
    listen = f"cluster.listen={config.listen}"
    host, port = listening(config.listen)
    key = read_key(Path(config.key))
    with ExitStack() as stack:
        with _as_user_error(
            listen,
            "it takes an address of this host, whose port and the next one are free",
        ):
            joining = NodesSocket(Endpoint(address=f"tcp://{host}:{port}", key=key))
            stack.callback(joining.close)
            socket = CoordinatorSocket(
                Endpoint(address=f"tcp://{host}:{port + 1}", key=key)
            )
            stack.callback(socket.close)
        nodes = NodeRegistration(
            socket=joining, config=config, source=source_digest(), notify=notify
        ).wait()
        placements = place(config, [node.host for node in nodes], keep_shares=True)
        stack.pop_all()
    silence_s = config.heartbeat_timeout_s
    cluster = ExternalCluster(
        joining, nodes, placements, folder, environment, silence_s
    )
    return cluster, socket


def _ray(
    config: RayConfig,
    folder: RunFolder,
    environment: dict[str, str],
    notify: Callable[[str], None],
) -> tuple[Cluster, CoordinatorSocket]:
    if config.listen is not None:
        listening(config.listen)
    key = new_key()
    with ExitStack() as stack:
        with _as_user_error("the launcher", "check that Python can start processes"):
            launcher = Launcher(folder / "ray.log")
        stack.callback(launcher.close)
        connected = connect(config, launcher, notify)
        host, port, next_port = connected.host, "*", "*"
        if config.listen is not None:
            host, number = listening(config.listen)
            port, next_port = str(number), str(number + 1)
        with _as_user_error(
            f"cluster.listen={host}:{port}",
            "it takes an address of this host, whose port and the next one are free",
        ):
            joining = NodesSocket(Endpoint(address=f"tcp://{host}:{port}", key=key))
            stack.callback(joining.close)
            socket = CoordinatorSocket(
                Endpoint(address=f"tcp://{host}:{next_port}", key=key)
            )
            stack.callback(socket.close)
        registration = AgentRegistration(
            config=config,
            launcher=launcher,
            socket=joining,
            connected=connected,
            serve=serve_at(joining.address, connected.host, key, config),
            notify=notify,
        )
        placements = registration.wait()
        stack.pop_all()
    silence_s = config.heartbeat_timeout_s
    cluster = RayCluster(registration, placements, folder, environment, silence_s)
    return cluster, socket


@contextmanager
def _as_user_error(where: str, advice: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{where}: {error.strerror}; {advice}") from error
