#!/bin/sh
# Sets up and runs the MLPerf SUT for Llama-3.1-8B on a host without a network. It lies
# in one folder with its parts, which are unpacked at the first call into the folder
# mlperf-sut beside them:
#
#   sh mlperf-sut.sh ARGS...            python3 -m sut.main ARGS...
#   sh mlperf-sut.sh --python ARGS...   python3 ARGS..., in the same environment
#
# PYTHON names another interpreter than python3, MLPERF_SUT_DIR another folder to unpack
# into. A call in a checkout of the SUT runs that checkout's code. What was carried
# beside the code lies in mlperf-sut/files.
set -eu
here=$$(CDPATH='' cd -- "$$(dirname -- "$$0")" && pwd)
python=$${PYTHON:-python3}
home=$${MLPERF_SUT_DIR:-$$here/mlperf-sut}
sut=yes
if [ "$${1-}" = --python ]; then sut=no; shift; fi
case $$home in /*) ;; *) home=$$PWD/$$home ;; esac
command -v "$$python" > /dev/null 2>&1 || {
  echo "error: $$python is no program: PYTHON=/path/to/python$PYTHON sh $$0 ..." >&2
  exit 2
}

"$$python" - "$$here" "$$home" "$$sut" <<'PROGRAM'
import sys

if sys.path[:1] == [""]:
    del sys.path[0]  # the folder of the call may hold anything


def stop(line):
    sys.stderr.write("error: " + line + "\n")
    sys.exit(2)


if sys.version_info[:2] != tuple(map(int, "$PYTHON".split("."))):
    stop("%s is Python %d.%d, the bundle is made for $PYTHON: name one by PYTHON=..., or"
         " pack with --python" % ((sys.executable,) + sys.version_info[:2]))

import ctypes
import hashlib
import lzma
import os
import platform
import shutil
import socket
import subprocess
import tarfile
from importlib import metadata

HERE, HOME, SUT = sys.argv[1:]
CODE, ROOM = $CODE, $ROOM
ON_HOST = "$ON_HOST".split()
KERNELS, AHEAD = "$KERNELS", "$AHEAD"
PARTS = [
    (digest, int(length), os.path.join(HERE, name))
    for digest, length, name in map(str.split, """\
$PARTS
""".splitlines())
]
ID = hashlib.sha256(repr([part[:2] for part in PARTS]).encode()).hexdigest()
STAMP = "bundle-id"


class Chain:
    """The parts as one file, or as much of it as is left to read."""

    def __init__(self):
        self.names = iter(PARTS)
        self.file = None
        self.left = CODE

    def read(self, size=-1):
        size = self.left if size < 0 else min(size, self.left)
        while size:
            if self.file is None:
                part = next(self.names, None)
                if part is None:
                    break
                self.file = open(part[2], "rb")
            data = self.file.read(size)
            if data:
                self.left -= len(data)
                return data
            self.file.close()
            self.file = None
        return b""


def there(home):
    try:
        with open(os.path.join(home, STAMP)) as file:
            return file.read() == ID
    except OSError:
        return False


def check_host():
    if platform.machine() != "x86_64":
        stop("this is %s, the bundle is made for x86_64" % platform.machine())
    missing = []
    for name in ON_HOST:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if name == "torch" and version.split("+")[0] != "$TORCH":
            stop("%s has torch %s, the bundle's vLLM is made for $TORCH: name another by"
                 " PYTHON=..., or pack again with a list of this host's packages"
                 % (sys.executable, version))
    if "torch" in missing:
        stop("%s has no torch: name the Python that has torch $TORCH by PYTHON=..., or"
             " pack with a list of its packages" % sys.executable)
    if missing:
        # Not an error: much that vLLM asks for is needed for other models only.
        sys.stderr.write(
            "warning: %s lacks %s, which were not carried: pack again with a list of its"
            " packages\n" % (sys.executable, ", ".join(missing)))


def check_parts():
    gone = [path for _, _, path in PARTS if not os.path.isfile(path)]
    if gone:
        stop("%d of %d parts are missing: carry %s to %s" % (
            len(gone), len(PARTS), ", ".join(map(os.path.basename, gone)), HERE))
    for digest, length, path in PARTS:
        found = hashlib.sha256()
        with open(path, "rb") as file:
            for data in iter(lambda: file.read(1 << 20), b""):
                found.update(data)
        if found.hexdigest() != digest:
            stop("%s is damaged (%d bytes, %d expected): carry it again" % (
                path, os.path.getsize(path), length))


def check_kernels(draft):
    """Leave out compiled kernels that this host's GPU cannot run."""
    if not KERNELS:
        return
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        text = subprocess.run(command, stdout=subprocess.PIPE, timeout=60).stdout.decode()
    except (OSError, subprocess.TimeoutExpired):
        return  # no GPU here; another node may have one
    found = set(line.strip().replace(".", "") for line in text.splitlines())
    if found - {KERNELS.rstrip("af"), ""}:
        shutil.rmtree(os.path.join(draft, AHEAD))
        sys.stderr.write(
            "warning: the carried kernels are for another GPU (sm_%s); they are compiled"
            " at the first start\n" % KERNELS)


def unpack():
    # Unpacked under another name and then renamed: a call that was cut off leaves
    # nothing that looks whole, and nodes that share the folder may start together.
    above = os.path.dirname(HOME)
    draft = os.path.join(
        above, ".%s-%s-%d" % (os.path.basename(HOME), socket.gethostname(), os.getpid()))
    old = draft + "-old"
    try:
        os.makedirs(above, exist_ok=True)
        free = shutil.disk_usage(above).free
        if free < ROOM:
            stop("%s has %.1f GB free, %.1f are needed: make room, or name another folder"
                 " by MLPERF_SUT_DIR=..." % (above, free / 1e9, ROOM / 1e9))
        sys.stderr.write("unpacking into %s (once)\n" % HOME)
        os.mkdir(draft)
        parts = Chain()
        with lzma.open(parts) as code:
            with tarfile.open(fileobj=code, mode="r|") as archive:
                archive.extractall(draft, filter="data")
            while code.read(1 << 20):
                pass  # to where the next archive begins
        parts.left = sum(length for _, length, _ in PARTS) - CODE
        with tarfile.open(fileobj=parts, mode="r|") as archive:
            archive.extractall(draft, filter="data")
        check_kernels(draft)
        with open(os.path.join(draft, STAMP), "w") as file:
            file.write(ID)
        if there(HOME):
            return  # another call was faster
        if os.path.lexists(HOME):
            if not os.path.exists(os.path.join(HOME, STAMP)):
                stop("%s exists and is not from a bundle: move it away, or name another"
                     " folder by MLPERF_SUT_DIR=..." % HOME)
            os.rename(HOME, old)
        try:
            os.rename(draft, HOME)
        except OSError:
            if not there(HOME):
                raise
    except OSError as error:
        stop("cannot unpack into %s: %s: name a folder that may be written by"
             " MLPERF_SUT_DIR=..." % (HOME, error))
    except (lzma.LZMAError, tarfile.TarError, EOFError) as error:
        stop("the parts do not make an archive (%s): pack and carry them again" % error)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


try:
    check_host()
    if not there(HOME):
        check_parts()
        unpack()
    if SUT == "yes":
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            stop("no NVIDIA driver here (libcuda.so.1 is not found): go to a node with"
                 " GPUs, or start the container with them; to run without, say"
                 " --python -m sut.main instead")
except KeyboardInterrupt:
    sys.exit(130)
PROGRAM

PYTHONPATH=$$home/src:$$home/site$${PYTHONPATH:+:$$PYTHONPATH}
PATH=$$home/site/bin:$$PATH
# Nothing is looked for in a network, nothing reported to one, and no kernels are
# compiled for sampling, which greedy answers do not need.
: "$${HF_HUB_OFFLINE:=1}" "$${VLLM_NO_USAGE_STATS:=1}" "$${VLLM_USE_FLASHINFER_SAMPLER:=0}"
export PYTHONPATH PATH HF_HUB_OFFLINE VLLM_NO_USAGE_STATS VLLM_USE_FLASHINFER_SAMPLER
if [ $$sut = yes ]; then exec "$$python" -m sut.main "$$@"; fi
exec "$$python" "$$@"
