#!/usr/bin/env bash
# Makes the virtual environment .venv and installs this package with its locks:
#   scripts/install.sh runtime|dev
# or .venv-calibration, for what wants other releases of the same packages:
#   scripts/install.sh calibration
# A second call with unchanged locks does nothing. PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
# An interrupted pip ends as one that failed: nothing else must be tried after it.
trap 'exit 130' INT TERM
what=${1:?usage: scripts/install.sh runtime|dev|calibration}
python=${PYTHON:-python3}

if nvidia-smi -L 2>/dev/null | grep -q GPU; then build=cuda; else build=cpu; fi
venv=.venv
locks=(requirements/$build.lock)
case $what in
  dev) locks+=(requirements/dev.lock) ;;
  calibration) venv=.venv-calibration; locks=(requirements/calibration-$build.lock) ;;
esac
pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)

install() {  # LOCK
  local stamp=$venv/$(basename "$1").sha256
  if sha256sum --check --status "$stamp" 2>/dev/null; then return; fi
  echo "installing $1 (minutes the first time)"
  # torch's CPU build is not on PyPI: pip's own configuration may know it, PyTorch does.
  # For hosts with GPUs it must not come into question.
  local more=()
  if [ $build = cpu ]; then more=(--extra-index-url https://download.pytorch.org/whl/cpu); fi
  "${pip[@]}" install --no-deps --requirement "$1" 2>"$venv/install.log" ||
    "${pip[@]}" install --no-deps --requirement "$1" "${more[@]}" ||
    { tail -5 "$venv/install.log" >&2; exit 1; }
  sha256sum "$1" > "$stamp"
}

if [ ! -x "$venv/bin/python" ]; then
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "error: $python is older than 3.11; set PYTHON=python3.11" >&2; exit 2; }
  "$python" -m venv "$venv"
fi
for lock in "${locks[@]}"; do install "$lock"; done
if [ setup.py -nt "$venv/package.stamp" ]; then
  "${pip[@]}" install --no-deps --no-build-isolation --editable .
  touch "$venv/package.stamp"
fi
