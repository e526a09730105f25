"""Fetches and unpacks packages for another machine, by pip."""

import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from packaging.utils import canonicalize_name

from base.errors import UserError
from offline_bundle.packages import LeaveOut, Pin

_SOURCE_ONLY = frozenset({"antlr4-python3-runtime", "rouge-score"})
"""Published without wheels; pure Python, so that one made anywhere fits."""
_NEWEST_GLIBC = 35
"""Ubuntu 22.04's, and older than that of any distribution with Python 3.12."""


def fetch(carried: Mapping[str, Pin], python: str, scratch: Path) -> Path:
    """Return a folder with these packages, unpacked for Python `python`.

    Where each of them has hashes, every file that is fetched must have one of them.

    Raises:
        UserError: pip is missing or fails.
    """
    site, wheels = scratch / "site", scratch / "wheels"
    wheels.mkdir()
    site.mkdir()
    hashed = all(pin.hashes for pin in carried.values())
    lines = {
        name: f"{name}=={pin.version}" + (_hashes(pin.hashes) if hashed else "")
        for name, pin in sorted(carried.items())
    }
    wanted = scratch / "carried.txt"
    source = [line for name, line in lines.items() if name in _SOURCE_ONLY]
    if source:
        wanted.write_text("\n".join(source) + "\n")
        _pip("wheel", "--no-deps", "--wheel-dir", str(wheels), "-r", str(wanted))
    if hashed:
        # What was built here has a hash that no lock can know.
        for path in wheels.iterdir():
            name = canonicalize_name(path.name.partition("-")[0])
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            version = carried[name].version
            lines[name] = f"{name}=={version}" + _hashes([f"sha256:{digest}"])
    if lines:
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


def _hashes(hashes: Iterable[str]) -> str:
    return "".join(f" --hash={digest}" for digest in hashes)


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
