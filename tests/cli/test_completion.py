"""Completion by the shell, as users press the tab key."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.bash import OptionsInBash
from cli.complete import completions
from cli.main import command

_ENGINES = ("endpoint", "synthetic", "vllm", "vllm_hopper")
_PROGRAM = Path(sys.executable).with_name("mlperf-sut")


def test_options_of_a_run_are_completed() -> None:
    assert "engine=synthetic" in completions("engine=")
    assert completions("cluster.repl") == ["cluster.replicas="]
    assert completions("run.trace=") == ["run.trace=false", "run.trace=true"]
    assert completions("mode=") == [
        *("mode=accuracy", "mode=compliance", "mode=performance")
    ]
    assert completions("zz") == []
    # A group is chosen by `engine=`; the names inside it are not for users.
    assert completions("engine.name") == []


@pytest.mark.parametrize(
    ("words", "number", "offered"),
    [
        ("run engine = syn", 4, ["plain,synthetic"]),
        ("run engine =", 3, [f"plain,{name}" for name in _ENGINES]),
        ("run cluster.repl", 2, ["plain,cluster.replicas="]),
        ("run mode = accuracy cluster.repl", 5, ["plain,cluster.replicas="]),
        ("doc", 1, ["plain,doctor"]),
        ("report runs/la", 2, ["file,runs/la"]),
    ],
)
def test_bash_gets_what_follows_the_part_that_it_split_off(
    words: str, number: int, offered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_WORDS", f"mlperf-sut {words}")
    monkeypatch.setenv("COMP_CWORD", str(number))
    shell = OptionsInBash(command, {}, "mlperf-sut", "_MLPERF_SUT_COMPLETE")
    assert shell.complete().splitlines() == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.integration  # starts the program
def test_each_shell_gets_its_script(shell: str) -> None:
    environment = os.environ | {"_MLPERF_SUT_COMPLETE": f"{shell}_source"}
    done = subprocess.run(
        [str(_PROGRAM)], env=environment, capture_output=True, text=True, check=True
    )
    assert "_mlperf_sut_completion" in done.stdout
    if shutil.which(shell):
        check = subprocess.run(
            [shell, "-n"], input=done.stdout, capture_output=True, text=True
        )
        assert check.returncode == 0, check.stderr


@pytest.mark.integration  # starts a shell
def test_the_tab_key_completes_an_option_in_bash(tmp_path: Path) -> None:
    start = tmp_path / "start.sh"
    start.write_text(
        f'PATH="{_PROGRAM.parent}:$PATH"\nPS1="> "\n'
        'eval "$(_MLPERF_SUT_COMPLETE=bash_source mlperf-sut)"\necho ready\n'
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "--noprofile", "--rcfile", str(start), "-i"])
    try:
        _read_until(terminal, "ready")
        os.write(terminal, b"mlperf-sut run engine=synth\t")
        _read_until(terminal, "engine=synthetic ")
        os.write(terminal, b"cluster.repl\t")
        _read_until(terminal, "cluster.replicas=")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


def _read_until(terminal: int, text: str, timeout_s: float = 60) -> None:
    seen, end = "", time.monotonic() + timeout_s
    while text not in seen:
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 4096).decode()
        assert time.monotonic() < end, f"{text!r} is not in {seen!r}"
