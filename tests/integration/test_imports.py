"""What can go wrong while a command imports its work, which takes seconds."""

import ast
import subprocess
import sys

import pytest

from base.files import project_files
from tests.integration.command import ROOT

pytestmark = pytest.mark.integration

_OF_A_RUN = {"sut.replica", "sut.clusters.guard", "sut.weights"}
"""Programs that a run starts, and no user: the coordinator reports how they end."""
_NO_COMMANDS = ("benchmarks/", "docs/", "tests/")


def _programs() -> set[str]:
    """Return every module that `python -m` can run, as it takes their names."""
    files = [name for name in project_files() if name.endswith(".py")]
    modules = [name for name in files if not name.startswith(_NO_COMMANDS)]
    found = [name for name in modules if _is_program((ROOT / name).read_text())]
    names = [name.removesuffix(".py").replace("/", ".") for name in found]
    return {name.removesuffix(".__main__") for name in names}


def _is_program(source: str) -> bool:
    """Return whether the module does something when it is run as `__main__`."""
    tests = [x.test for x in ast.parse(source).body if isinstance(x, ast.If)]
    return any("__name__ == '__main__'" in ast.unparse(test) for test in tests)


COMMANDS = sorted(_programs() - _OF_A_RUN)


def _run_with_import(module: str, statement: str) -> "subprocess.CompletedProcess[str]":
    """Run `module`, whose first import executes `statement`.

    Not counted are Python's own modules, what a command needs to begin, and what
    Python itself does to find the module.
    """
    is_package = (ROOT / module.replace(".", "/")).is_dir()
    source = f"{module}.__main__" if is_package else module
    code = f"""
import os, runpy, signal, sys
from importlib.abc import MetaPathFinder
FREE = {{*sys.stdlib_module_names, 'base', 'sut.interrupts'}}
once = ['{source}']
class Faulty(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in once:
            once.remove(name)
        elif '{source}'.startswith(name + '.') or FREE & {{name, name.split('.')[0]}}:
            pass
        else:
            {statement}
sys.meta_path.insert(0, Faulty())
runpy.run_module('{module}', run_name='__main__', alter_sys=True)
"""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_every_command_is_found() -> None:
    assert {"sut.main", "sut.node", "report", "cli", "qsl.prepare"} <= set(COMMANDS)
    assert _programs() >= _OF_A_RUN


@pytest.mark.parametrize("module", COMMANDS)
def test_too_little_memory_for_the_imports_is_reported(module: str) -> None:
    done = _run_with_import(module, "raise MemoryError")
    assert (done.returncode, done.stderr) == (3, "aborted: out of memory\n")


@pytest.mark.parametrize("module", COMMANDS)
def test_a_limit_that_libraries_exceed_is_bad_input(module: str) -> None:
    """With so little OpenBLAS would wait for memory for ever, deaf to signals."""
    script = f"ulimit -v 120000; exec {sys.executable} -m {module} report"
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: the address space is limited to 120,000 KiB")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("module", COMMANDS)
def test_a_broken_package_is_no_bad_result(module: str) -> None:
    done = _run_with_import(module, "raise ImportError('x.so: a defect')")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "ImportError: x.so: a defect"


@pytest.mark.parametrize("module", ["report", "sut.main"])
@pytest.mark.parametrize(
    "cause",
    [
        "ImportError('x.so: failed to map segment from shared object')",
        "ImportError('x.so: cannot allocate memory in static TLS block')",
        "MemoryError",
    ],
)
def test_too_little_memory_for_a_library_is_reported(module: str, cause: str) -> None:
    """NumPy wraps the loader's error into a long one of its own."""
    done = _run_with_import(module, f"raise ImportError('see') from {cause}")
    assert (done.returncode, done.stderr) == (3, "aborted: out of memory\n")


@pytest.mark.parametrize("module", ["report", "sut.main"])
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interrupt_during_imports_is_quiet(module: str, number: str) -> None:
    """A module that the command imports sends the signal while it is imported."""
    done = _run_with_import(module, f"os.kill(os.getpid(), signal.{number})")
    assert done.returncode == 3
    assert done.stderr.startswith("aborted: interrupted")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("module", ["sut.main", "sut.node.joining"])
def test_importing_a_command_changes_nothing_in_the_process(module: str) -> None:
    code = (
        "import importlib, resource, signal\n"
        "def state():\n"
        "    handlers = [signal.getsignal(n) for n in signal.valid_signals()]\n"
        "    return handlers, resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))\n"
        "before = state()\n"
        f"importlib.import_module('{module}')\n"
        "assert state() == before\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
