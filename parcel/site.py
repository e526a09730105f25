"""Fetches and unpacks packages for another machine, by pip."""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from base.errors import UserError
from parcel.packages import LeaveOut

_SOURCE_ONLY = frozenset({"antlr4-python3-runtime", "rouge-score"})
"""Published without wheels; pure Python, so that one made anywhere fits."""
_NEWEST_GLIBC = 35
"""Ubuntu 22.04's, and older than that of any distribution with Python 3.12."""


def fetch(carried: Mapping[str, str], python: str, scratch: Path) -> Path:
    """Return a folder with these packages, unpacked for Python `python`.

    Raises:
        UserError: pip is missing or fails.
    """
    site, wheels = scratch / "site", scratch / "wheels"
    wheels.mkdir()
    site.mkdir()
    lines = {name: f"{name}=={version}" for name, version in sorted(carried.items())}
    source = [line for name, line in lines.items() if name in _SOURCE_ONLY]
    if source:
        _pip("wheel", "--no-deps", "--wheel-dir", str(wheels), *source)
    if lines:
        wanted = scratch / "carried.txt"
        wanted.write_text("\n".join(lines.values()) + "\n")
        _pip(
            *("install", "--no-deps", "--no-compile", "--only-binary=:all:"),
            *("--implementation", "cp", "--python-version", python),
            *(f"--platform={name}" for name in _platforms()),
            *("--find-links", str(wheels), "--target", str(site)),
            *("--requirement", str(wanted)),
        )
    for program in (site / "bin").glob("*"):
        _for_any_python(program)
    return site


def drop(site: Path, leave_out: LeaveOut) -> list[str]:
    """Delete what the patterns name; return the patterns that named nothing."""
    unused = dict.fromkeys(leave_out.files)
    for path in list(site.rglob("*")):
        name = path.relative_to(site).as_posix()
        hits = [pattern for pattern in leave_out.files if fnmatchcase(name, pattern)]
        for pattern in hits:
            unused.pop(pattern, None)
        if hits and (path.is_symlink() or not path.is_dir()):
            path.unlink()
            _drop_empty(path.parent, site)
    return list(unused)


def _drop_empty(folder: Path, site: Path) -> None:
    """An empty folder would still be found by Python, as a namespace package."""
    while folder != site and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _platforms() -> list[str]:
    """All that fit, the newest first: pip matches them exactly."""
    return [
        *(f"manylinux_2_{minor}_x86_64" for minor in range(_NEWEST_GLIBC, 4, -1)),
        *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"),
        "linux_x86_64",
    ]


def _for_any_python(program: Path) -> None:
    """Let a script name no interpreter of this machine."""
    content = program.read_bytes()
    if content.startswith(b"#!"):
        rest = content.partition(b"\n")[2]
        program.write_bytes(b"#!/usr/bin/env python3\n" + rest)


def _pip(*arguments: str) -> None:
    if importlib.util.find_spec("pip") is None:
        raise UserError(f"{sys.executable} has no pip: use a Python that has it")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run(
        [*command, *arguments], stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = said[-1] if said else done.stderr.strip()[-300:]
        raise UserError(f"pip {arguments[0]} failed: {why}")
