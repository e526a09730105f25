"""A Slurm cluster of several nodes on this host: slurmctld, slurmd and munged.

Needs root and Debian's packages: apt-get install slurmctld slurmd slurm-client munge.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.external_nodes import free_port

_PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun")
_START_S = 60
_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdTimeout=10
SlurmdParameters=config_overrides
{nodes}
PartitionName=all Nodes=n[1-{count}] Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Return why no Slurm can be started here, or None."""
    lacking = [name for name in _PROGRAMS if shutil.which(name) is None]
    if lacking:
        return f"needs {', '.join(lacking)}: apt-get install slurmctld slurmd munge"
    return None if os.geteuid() == 0 else "needs root, to run slurmd"


class SlurmCluster:
    """Starts `count` nodes, n1 to nN, of two cores each."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))
        self.environment = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self.command("scancel", "--user=root", check=False)
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *words: str, check: bool = True) -> str:
        """Run one of Slurm's commands; return its output."""
        return subprocess.run(
            words,
            env=self.environment,
            capture_output=True,
            text=True,
            check=check,
            timeout=60,
        ).stdout

    def kill(self, node: str) -> None:
        """Kill the daemon of a node."""
        self._processes[node].send_signal(signal.SIGKILL)

    def _start(self) -> None:
        folder, host = self.folder, socket.gethostname()
        (folder / "state").mkdir()
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        ports = {f"n{number}": free_port() for number in range(1, self.count + 1)}
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            " CPUs=2 RealMemory=1000"
            for name, port in ports.items()
        )
        (folder / "slurm.conf").write_text(
            _CONF.format(
                host=host,
                port=free_port(),
                folder=folder,
                nodes=nodes,
                count=self.count,
            )
        )
        (folder / "cgroup.conf").write_text(
            "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n"
        )
        files = ("key", "pid", "log", "seed")
        self._run(
            "munged",
            *("munged", "--foreground", "--force", f"--socket={folder}/munge.socket"),
            *(f"--{name}-file={folder}/munge.{name}" for name in files),
        )
        self._until(lambda: (folder / "munge.socket").exists(), "munged")
        self._run("slurmctld", "slurmctld", "-D")
        for name in ports:
            self._run(name, "slurmd", "-D", "-N", name)
        idle = ("sinfo", "--noheader", "--format=%D %t")
        self._until(
            lambda: f"{self.count} idle" in self.command(*idle, check=False), "nodes"
        )

    def _run(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out").open("wb") as output:
            self._processes[name] = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _START_S
        while not condition():
            ended = {n: p.poll() for n, p in self._processes.items() if p.poll()}
            said = {n: (self.folder / f"{n}.out").read_text() for n in ended}
            assert not ended, f"{what}: {said}"
            assert time.monotonic() < deadline, f"{what} never came"
            time.sleep(0.1)
