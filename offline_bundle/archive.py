"""Writes the parts and the script that is carried with them."""

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import IO, cast

from base.errors import UserError
from base.files import data_path
from offline_bundle.kernels import AHEAD

SCRIPT = "mlperf-sut.sh"
_TEMPLATE = data_path("offline_bundle", "host.sh")


class Parts:
    """A stream to write to, cut into files of one size."""

    def __init__(self, folder: Path, size: int) -> None:
        """Write to `folder`."""
        self.folder = folder
        self._size = size
        self._left = 0
        self._file: IO[bytes] | None = None
        self._digest = hashlib.sha256()
        self.names: list[str] = []
        self.lines: list[str] = []
        """Digest, length and name of each part that is complete."""
        self.total = 0

    def write(self, data: bytes) -> int:
        """Append `data`."""
        view = memoryview(data)
        while view:
            if not self._left:
                self._next()
            piece = view[: self._left]
            cast(IO[bytes], self._file).write(piece)
            self._digest.update(piece)
            self._left -= len(piece)
            view = view[len(piece) :]
        self.total += len(data)
        return len(data)

    def close(self) -> None:
        """Complete the last part."""
        if self._file is not None:
            self._file.close()
            length = self._size - self._left
            line = f"{self._digest.hexdigest()} {length} {self.names[-1]}"
            self.lines.append(line)
            self._file = None

    def _next(self) -> None:
        self.close()
        self._left = self._size
        self._digest = hashlib.sha256()
        self.names.append(f"mlperf-sut.part-{len(self.names):03d}")
        self._file = (self.folder / self.names[-1]).open("wb")


def write_bundle(
    out: Path,
    part_size: int,
    folders: Mapping[str, Path],
    files: Sequence[Path],
    *,
    python: str,
    torch: str,
    on_host: Sequence[str],
    kernels: str = "",
) -> list[Path]:
    """Write parts and script into `out`; return their paths, the script first.

    Args:
        out: folder, which exists.
        part_size: bytes.
        folders: what is compressed, by the name that it gets on the host.
        files: what is carried as it is, to lie under `files` on the host.
        python: the host's, as in 3.12.
        torch: the release that must be found there.
        on_host: packages that were left out because the host has them.
        kernels: architecture of FlashInfer's compiled kernels, as in 90a; empty: none
            are carried.

    Raises:
        UserError: `xz` is missing or fails.
    """
    parts = Parts(out, part_size)
    room = _compress(folders, parts)
    code = parts.total
    stream = cast(IO[bytes], parts)
    # What links of a model hub's cache point to lies elsewhere: follow them.
    with tarfile.open(fileobj=stream, mode="w|", dereference=True) as archive:
        for path in files:
            archive.add(path.resolve(), f"files/{path.resolve().name}", filter=_plain)
    parts.close()
    room += parts.total - code
    script = out / SCRIPT
    text = Template(_TEMPLATE.read_text()).substitute(
        PARTS="\n".join(parts.lines),
        CODE=code,
        ROOM=room,
        PYTHON=python,
        TORCH=torch,
        ON_HOST=" ".join(sorted(on_host)),
        KERNELS=kernels,
        AHEAD=(Path("site") / AHEAD).as_posix(),
    )
    script.write_text(text)
    script.chmod(0o755)
    return [script, *(out / name for name in parts.names)]


def _compress(folders: Mapping[str, Path], parts: Parts) -> int:
    """Write `folders` as one compressed archive; return the room that they take."""
    if shutil.which("xz") is None:
        raise UserError("`xz` is missing: install it (package xz-utils or xz)")
    packed = parts.folder / ".packed"
    try:
        with packed.open("wb") as target:
            command = ["xz", "-6", "--threads=0", "--stdout"]
            xz = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=target)
            stdin = cast(IO[bytes], xz.stdin)
            with stdin, tarfile.open(fileobj=stdin, mode="w|") as archive:
                for name, path in folders.items():
                    archive.add(path, name, filter=_plain)
            if xz.wait():
                raise UserError(f"xz failed with {xz.returncode}: see above")
        with packed.open("rb") as source:
            while data := source.read(1 << 20):
                parts.write(data)
    finally:
        packed.unlink(missing_ok=True)
    return sum(
        path.stat().st_size
        for folder in folders.values()
        for path in folder.rglob("*")
        if path.is_file()
    )


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Owned by nobody in particular."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
