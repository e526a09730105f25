"""Nodes of `cluster=external` as processes of this host."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from sut.wire.keys import make_key

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    """Return a port that is free, and so is the next one."""
    while True:
        with ExitStack() as stack:
            ports: list[int] = []
            try:
                for wanted in (0, 1):
                    one = stack.enter_context(socket.socket())
                    one.bind(("127.0.0.1", ports[0] + 1 if wanted else 0))
                    ports.append(one.getsockname()[1])
            except (OSError, OverflowError):
                continue
            return int(ports[0])


class NodeProcess:
    """One `python -m sut.node`, whose output is kept."""

    def __init__(
        self,
        port: int,
        key: Path,
        name: str,
        *options: str,
        cable: "Cable | None" = None,
    ) -> None:
        host, enter = ("127.0.0.1", []) if cable is None else (cable.host, cable.enter)
        usual = {
            "--connect": f"{host}:{port}",
            "--key": str(key),
            "--name": name,
            "--wait-s": "60",
        }
        arguments = [
            part
            for option in usual.items()
            if option[0] not in options
            for part in option
        ]
        self.log = key.with_name(f"{name}.log")
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*enter, sys.executable, "-m", "sut.node", *arguments, *options],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 20) -> int:
        """Wait for its end; return the exit code."""
        return self.process.wait(seconds)


class Cable:
    """A network of its own for one node, and the cable between it and this host."""

    def __init__(self, subnet: int) -> None:
        self._name = f"sut{os.getpid() % 10_000}x{subnet}"
        self.host = f"10.213.{subnet}.1"
        self.enter = ["ip", "netns", "exec", self._name]

    @staticmethod
    def possible() -> bool:
        """Return whether this host lets us make networks."""
        if os.geteuid() != 0 or shutil.which("ip") is None:
            return False
        made = subprocess.run(["ip", "netns", "add", "sut-try"], capture_output=True)
        subprocess.run(["ip", "netns", "del", "sut-try"], capture_output=True)
        return made.returncode == 0

    def __enter__(self) -> Self:
        name, node = self._name, self.host[:-1] + "2"
        for command in (
            f"ip netns add {name}",
            f"ip link add {name} type veth peer name e0 netns {name}",
            f"ip addr add {self.host}/24 dev {name}",
            f"ip link set {name} up",
            f"ip -n {name} addr add {node}/24 dev e0",
            f"ip -n {name} link set e0 up",
            f"ip -n {name} link set lo up",
        ):
            subprocess.run(command.split(), check=True, capture_output=True)
        return self

    def __exit__(self, *_: object) -> None:
        for command in (f"ip link del {self._name}", f"ip netns del {self._name}"):
            subprocess.run(command.split(), capture_output=True)

    def cut(self) -> None:
        """Let nothing pass any more, and nobody know."""
        command = f"ip link set {self._name} down"
        subprocess.run(command.split(), check=True, capture_output=True)


class Nodes:
    """Some nodes and the key that they share with their coordinator."""

    def __init__(self, folder: Path, count: int = 2, *options: str) -> None:
        self.key = folder / "cluster.key"
        make_key(self.key)
        self.port = free_port()
        self.all = [
            NodeProcess(self.port, self.key, f"n{number}", *options)
            for number in range(count)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.all:
            if node.process.poll() is None:
                os.kill(node.process.pid, signal.SIGCONT)
                node.signal(signal.SIGTERM)
        for node in self.all:
            node.wait()

    @property
    def overrides(self) -> list[str]:
        """Options of `sut.main` that use them."""
        return [
            "cluster=external",
            f"cluster.nodes={len(self.all)}",
            f"cluster.key={self.key}",
            f"cluster.listen=127.0.0.1:{self.port}",
            "cluster.join_timeout_s=60",
        ]
