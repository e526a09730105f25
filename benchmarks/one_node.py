"""A node of `cluster=external` on this host, for measurements of the way to it."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sut.wire.keys import make_key

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def one_node(folder: Path) -> Iterator[list[str]]:
    """Run a node for one run; yield the options of `sut.main` that use it.

    Args:
        folder: takes the key.
    """
    key = folder / "key"
    make_key(key)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    connect = ["--connect", f"127.0.0.1:{port}", "--key", str(key), "--once"]
    node = subprocess.Popen(
        [sys.executable, "-m", "sut.node", *connect],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield [
            *("cluster=external", "cluster.nodes=1", f"cluster.key={key}"),
            f"cluster.listen=127.0.0.1:{port}",
        ]
    finally:
        node.terminate()
        node.wait()
