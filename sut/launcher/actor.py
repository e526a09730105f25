"""What runs inside Ray on a node: it starts a node agent and waits for its end.

Ray carries this module to the node by value, so it imports the standard library alone:
whether our packages are there at all is one of the things that it finds out.
"""

import contextlib
import os
import platform
import signal
import site
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_TAIL_BYTES = 4096


class AgentActor:
    """One node agent; Ray makes it an actor."""

    def prepare(self) -> dict[str, Any]:
        """Undo what Ray does to its processes; return what is left of it.

        Ray lowers the priority of its workers, makes them the first that the kernel
        kills when memory is short, and blocks SIGINT. A replica must run as everywhere.
        """
        parent = os.getppid()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, parent))
        with contextlib.suppress(OSError):
            score = Path(f"/proc/{parent}/oom_score_adj").read_text()
            Path("/proc/self/oom_score_adj").write_text(score)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return {
            "python": platform.python_version(),
            "nice": os.nice(0) - os.getpriority(os.PRIO_PROCESS, parent),
        }

    def serve(self, options: list[str], key: str, root: str) -> tuple[int, str]:
        """Run `python -m sut.node` to its end; return exit code and last output.

        Args:
            options: of the command.
            key: goes to its standard input.
            root: folder that holds our packages on the coordinator's host; where this
                node has none there, an installed package or the job's own is used.
        """
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "sut.node", *options),
                    *("--parent", str(os.getpid())),
                ],
                env=_environment(root),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(key.encode())
            code = process.wait()
            output.seek(max(0, output.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return code, output.read().decode(errors="replace")


def _environment(root: str) -> dict[str, str]:
    """Return this process's environment without what Ray has put into it."""
    before: set[str] = set()
    with contextlib.suppress(OSError):
        data = Path(f"/proc/{os.getppid()}/environ").read_bytes()
        before = {os.fsdecode(line).partition("=")[0] for line in data.split(b"\0")}
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in before or not _of_ray(name)
    }
    installed = {Path(folder).resolve() for folder in site.getsitepackages()}
    for folder in (root, str(Path.cwd())):
        path = Path(folder).resolve()
        if path not in installed and (path / "sut" / "node").is_dir():
            more = environment.get("PYTHONPATH")
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, more]))
            break
    return environment


def _of_ray(name: str) -> bool:
    # OMP_NUM_THREADS: Ray sets it to the cores that it has reserved.
    return name.startswith("RAY_") or name in (
        "OMP_NUM_THREADS",
        "PYTHONBREAKPOINT",
        "SPT_NOENV",
    )
