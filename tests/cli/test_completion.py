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

from cli.complete import completions
from cli.main import command
from cli.shells import OptionsInBash, OptionsInZsh

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


def test_paths_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "[a]").mkdir(parents=True)
    (tmp_path / "more").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert completions("model.path=mo") == ["model.path=models/", "model.path=more"]
    assert completions("dataset.path=./mor") == ["dataset.path=./more"]
    assert completions("run.dir=models/[") == ["run.dir=models/[a]/"]
    assert completions("model.path=~/mor") == ["model.path=~/more"]
    assert completions("cluster.key=none") == []
    # Names of files are no values of the others.
    assert completions("engine=mo") == []


def test_zsh_leaves_the_space_out() -> None:
    # click's own text, which is replaced, may change with its release.
    assert 'compadd -U -S "" -- "$key"' in OptionsInZsh.source_template
    assert "[[ $value == *[=/] ]]" in OptionsInBash.source_template


_STARTS = {
    "bash": ("start.sh", 'eval "$(_MLPERF_SUT_COMPLETE=bash_source mlperf-sut)"'),
    "zsh": (
        ".zshrc",
        "autoload -Uz compinit; compinit -u\n"
        'eval "$(_MLPERF_SUT_COMPLETE=zsh_source mlperf-sut)"',
    ),
    "fish": (
        "fish/config.fish",
        "_MLPERF_SUT_COMPLETE=fish_source mlperf-sut | source",
    ),
}


@pytest.mark.parametrize("shell", _STARTS)
@pytest.mark.integration  # starts a shell
def test_the_tab_key_completes_an_option(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    name, script = _STARTS[shell]
    start = tmp_path / name
    start.parent.mkdir(exist_ok=True)
    start.write_text(f"{script}\necho ready\n")
    commands = {
        "bash": ["bash", "--noprofile", "--rcfile", str(start), "-i"],
        "zsh": ["zsh", "-i"],
        "fish": ["fish", "-i"],
    }
    environment = os.environ | {
        "PATH": f"{_PROGRAM.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "ZDOTDIR": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "TERM": "xterm",
    }
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execvpe(shell, commands[shell], environment)
    try:
        _read_until(terminal, "ready")
        os.write(terminal, b"mlperf-sut run engine=synth\t")
        _read_until(terminal, "engine=synthetic")
        os.write(terminal, b" cluster.repl\t")
        _read_until(terminal, "cluster.replicas=")
        # No space is in between; shells draw only what changes.
        os.write(terminal, b"2 mode=acc\t")
        _read_until(terminal, "mode=accuracy")
        os.write(terminal, b"\x01echo \x05\r")
        _read_until(terminal, "cluster.replicas=2 mode=accuracy")
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
