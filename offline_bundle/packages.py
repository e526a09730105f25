"""Which packages a bundle holds: a lock, less what the host has or does not need."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from base.errors import UserError
from base.files import ROOT

LOCKS = ROOT / "requirements"
_NAME = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:==\s*([^\s;]+)|@\s.*?)?\s*(?:;.*?)?"
    r"((?:\s*--hash=\S+)*)"
)


@dataclass(slots=True, kw_only=True)
class LeaveOut:
    """Patterns of what the host has no use for."""

    packages: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def package(self, name: str) -> bool:
        """Tell whether this package is not to be fetched."""
        return any(fnmatchcase(name, pattern) for pattern in self.packages)


@dataclass(frozen=True, slots=True)
class Pin:
    """What a file states about a package."""

    version: str | None
    """None: only its name."""
    hashes: tuple[str, ...] = ()
    """Of the files that may be installed, as `sha256:...`; empty: any."""


@dataclass(slots=True, kw_only=True)
class Selection:
    """A lock, sorted into what is carried and what is not."""

    lock: Path
    carried: dict[str, "Pin"]
    on_host: dict[str, str | None]
    """Of the host's packages those that the lock names too."""
    left_out: list[str]
    torch: str
    """The release that the host must have in the end, by itself or by the bundle."""


def read_packages(path: Path) -> dict[str, str | None]:
    """Return the versions by name that a lock or the output of `pip freeze` gives.

    A name alone is taken as well; its version is None.

    Raises:
        UserError: the file cannot be read, or a line names no package.
    """
    return {name: pin.version for name, pin in read_pins(path).items()}


def read_pins(path: Path) -> dict[str, Pin]:
    """Return the packages in a lock or in the output of `pip freeze`, by name.

    Raises:
        UserError: the file cannot be read, or a line names no package.
    """
    found: dict[str, Pin] = {}
    for number, line in enumerate(_lines(path), 1):
        if not line or line.startswith("-"):  # `-e git+...`: nothing that is ours
            continue
        match = _NAME.fullmatch(line)
        if match is None:
            raise UserError(
                f"{path}, line {number}: {line!r} names no package; write the output"
                " of `pip freeze`"
            )
        hashes = tuple(match[3].replace("--hash=", "").split())
        found[canonicalize_name(match[1])] = Pin(match[2], hashes)
    return found


def read_leave_out(paths: Iterable[Path]) -> LeaveOut:
    """Return the patterns of these files together.

    Raises:
        UserError: a file cannot be read.
    """
    patterns = LeaveOut()
    for path in paths:
        for line in filter(None, _lines(path)):
            if "/" in line:
                patterns.files.append(line)
            else:
                patterns.packages.append(canonicalize_name(line))
    return patterns


def choose_lock(host: Mapping[str, str | None], locks: Path = LOCKS) -> Path:
    """Return the lock whose vLLM is made for the host's torch.

    Raises:
        UserError: there is none.
    """
    torch = host.get("torch")
    if torch is None:
        return locks / "cuda.lock"
    offers = {path: _torch(path) for path in sorted(locks.glob("cuda*.lock"))}
    for path, release in offers.items():
        if release == _public(torch):
            return path
    raise UserError(
        f"no lock is made for the host's torch {torch} (there are"
        f" {', '.join(offers.values())}): give one by --lock, with a vLLM that pins it"
    )


def select(
    lock: Path, host: Mapping[str, str | None], leave_out: LeaveOut
) -> Selection:
    """Sort the packages of `lock`.

    Raises:
        UserError: the lock is damaged, or made for another torch than the host's.
    """
    release = _torch(lock)
    torch = host.get("torch")
    if torch is not None and _public(torch) != release:
        raise UserError(
            f"{lock} is made for torch {release}, the host has {torch}: leave --lock"
            " out, or give one whose vLLM pins the host's"
        )
    carried: dict[str, Pin] = {}
    on_host: dict[str, str | None] = {}
    left_out: list[str] = []
    for name, pin in read_pins(lock).items():
        if pin.version is None:
            raise UserError(f"{lock}: {name} has no version; write {name}==VERSION")
        if name in host:
            on_host[name] = host[name]
        elif leave_out.package(name):
            left_out.append(name)
        else:
            carried[name] = pin
    return Selection(
        lock=lock, carried=carried, on_host=on_host, left_out=left_out, torch=release
    )


def misfits(
    distributions: Iterable[Distribution],
    host: Mapping[str, str | None],
    left_out: Sequence[str],
    python: str,
) -> list[str]:
    """Say what the carried packages ask for and will not find.

    Args:
        distributions: what is carried.
        host: the host's packages; where a version is unknown, it is taken to fit.
        left_out: packages that stay behind on purpose.
        python: the host's, as in 3.12.
    """
    carried = list(distributions)
    there = dict(host)
    there |= {canonicalize_name(each.name): each.version for each in carried}
    target = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": "x86_64",
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "extra": "",
    }
    said = []
    for each in sorted(carried, key=lambda one: one.name):
        for text in each.requires or ():
            try:
                wanted = Requirement(text)
            except InvalidRequirement:
                continue  # by no standard; nothing to hold the host against
            name = canonicalize_name(wanted.name)
            if wanted.marker is not None and not wanted.marker.evaluate(target):
                continue
            if name not in there:
                if name not in left_out:
                    said.append(
                        f"{each.name} {each.version} asks for {wanted}: missing"
                    )
                continue
            version = there[name]
            if version is not None and not _fits(version, wanted):
                said.append(
                    f"{each.name} {each.version} asks for {wanted}: it is {version}"
                )
    return said


def _fits(version: str, wanted: Requirement) -> bool:
    try:
        return wanted.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return True


def _torch(lock: Path) -> str:
    version = read_packages(lock).get("torch")
    if version is None:
        raise UserError(f"{lock} pins no torch: give a lock that does")
    return _public(version)


def _public(version: str) -> str:
    """Without the build: 2.11.0 of 2.11.0+cu130."""
    try:
        return Version(version).public
    except InvalidVersion:
        return version


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    joined = re.sub(r"\\\n\s*", "", text)
    return [line.partition(" #")[0].strip() for line in _uncommented(joined)]


def _uncommented(text: str) -> list[str]:
    return ["" if line.startswith("#") else line for line in text.splitlines()]
