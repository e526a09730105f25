"""`python -m offline_bundle`: packs everything for a host without a network."""

from base.command import ArgumentParser, run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("offline_bundle.__main__")

import argparse
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

from base.errors import ExitCode, UserError
from base.files import ROOT, list_files
from offline_bundle.archive import SCRIPT, write_bundle
from offline_bundle.kernels import add_kernels, find_kernels
from offline_bundle.packages import (
    choose_lock,
    misfits,
    read_leave_out,
    read_packages,
    select,
)
from offline_bundle.site import drop, fetch

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return run_command(
        lambda: _run(_parser().parse_args(arguments)),
        interrupted="interrupted; nothing was written",
    )


def part_size(text: str) -> int:
    """Return the bytes that `text` asks for.

    Raises:
        ValueError: it is not a size.
    """
    match = re.fullmatch(r"([1-9][0-9]*)([KMG])", text)
    if match is None:
        raise ValueError(text)
    return int(match[1]) * _UNITS[match[2]]


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m offline_bundle",
        description="Pack this package, vLLM and what they need into parts and one"
        f" script, {SCRIPT}, which sets up and runs on x86-64 hosts without a network.",
    )
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument(
        "--host-has",
        type=Path,
        metavar="FILE",
        help="output of `pip freeze` on the host: these packages are not packed, and"
        " vLLM is the one made for the host's torch",
    )
    parser.add_argument(
        "--leave-out",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="patterns of packages and files that the host does not need, as in"
        " requirements/hopper-dense.leave-out; may be repeated",
    )
    parser.add_argument(
        "--with",
        dest="files",
        type=Path,
        metavar="PATH",
        action="append",
        default=[],
        help="file or folder to carry too (prompts, a checkpoint); may be repeated",
    )
    parser.add_argument(
        "--kernels",
        type=Path,
        metavar="FOLDER",
        help=".cache/flashinfer of a host of the same kind that ran before: its"
        " compiled kernels are packed, which saves the first start about 110 s",
    )
    parser.add_argument(
        "--part-size",
        type=part_size,
        default=part_size("1G"),
        metavar="SIZE",
        help="of each part, as 60M or 2G (1G)",
    )
    parser.add_argument(
        "--lock",
        type=Path,
        metavar="FILE",
        help="lock to carry (default: the one of requirements/cuda*.lock that has the"
        " host's torch, or cuda.lock)",
    )
    parser.add_argument(
        "--python", default="3.12", metavar="X.Y", help="the host's Python (3.12)"
    )
    return parser


def _run(options: argparse.Namespace) -> int:
    out: Path = options.out
    if not re.fullmatch(r"3\.[0-9]+", options.python):
        raise UserError(f"--python {options.python} is not a version such as 3.12")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} exists already: give a new or an empty folder")
    _check_files(options.files)
    host = read_packages(options.host_has) if options.host_has else {}
    leave_out = read_leave_out(options.leave_out)
    chosen = select(options.lock or choose_lock(host), host, leave_out)
    print(
        f"{chosen.lock.name}: {len(chosen.carried)} packages packed,"
        f" {len(chosen.on_host)} are on the host, {len(chosen.left_out)} left out"
    )
    libraries: list[Path] = []
    if options.kernels is not None:
        pin = chosen.carried.get("flashinfer-python")
        libraries = find_kernels(options.kernels, pin.version if pin else None)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as name:
        scratch = Path(name)
        source = _source(scratch)
        site = fetch(chosen.carried, options.python, scratch)
        carried = list(distributions(path=[str(site)]))
        for line in misfits(carried, host, chosen.left_out, options.python):
            print(f"note: {line}")
        for pattern in drop(site, leave_out):
            print(f"note: {pattern} names no file")
        kernels = ""
        if libraries:
            kernels = add_kernels(site, libraries)
        draft = scratch / "bundle"
        draft.mkdir()
        made = write_bundle(
            draft,
            options.part_size,
            {"src": source, "site": site},
            options.files,
            python=options.python,
            torch=chosen.torch,
            on_host=list(chosen.on_host),
            kernels=kernels,
        )
        sizes = [path.stat().st_size for path in made]
        # Not a rename: it would keep the temporary folder's mode.
        out.mkdir(exist_ok=True)
        for path in made:
            shutil.move(path, out / path.name)
    print(f"{out}: {len(made) - 1} parts, {sum(sizes) / 1e6:.1f} MB, and {SCRIPT}")
    print(f"copy all of it to the host, and run there: sh {SCRIPT} OPTION=VALUE")
    return ExitCode.GOOD


def _check_files(files: Sequence[Path]) -> None:
    names = [path.resolve().name for path in files]
    for path, name in zip(files, names, strict=True):
        if not path.exists():
            raise UserError(f"--with {path}: there is no such file")
        if names.count(name) > 1:
            raise UserError(f"--with {path}: two files are called {name}; rename one")


def _source(scratch: Path) -> Path:
    """Unpack the commit that is checked out.

    Raises:
        UserError: this is not a git checkout.
    """
    git = ["git", "-C", str(ROOT)]
    packed = scratch / "source.tar"
    try:
        archive = [*git, "archive", "--output", str(packed), "HEAD"]
        subprocess.run(archive, check=True, capture_output=True)
        status = [*git, "status", "--porcelain"]
        changed = subprocess.run(status, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"{ROOT} is not a git checkout; run this command in one"
        ) from error
    if changed:
        print("note: only committed files are packed; uncommitted changes are not")
    source = scratch / "src"
    with tarfile.open(packed) as tar:
        tar.extractall(source, filter="data")
    paths = (p.relative_to(source) for p in source.rglob("*") if p.is_file())
    list_files(source, sorted(p.as_posix() for p in paths if p.name[0] != "."))
    return source
