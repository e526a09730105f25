#!/usr/bin/env bash
# Makes the virtual environment .venv and installs this package with its locks:
#   scripts/install.sh runtime|ray|tune|mlflow|dev
# or .venv-calibration, for what wants other releases of the same packages:
#   scripts/install.sh calibration
# A second call with unchanged locks does nothing. PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
# An interrupted pip ends as one that failed: nothing else must be tried after it.
trap 'exit 130' INT TERM
what=${1:?usage: scripts/install.sh runtime|ray|tune|mlflow|dev|calibration}
python=${PYTHON:-python3}

if nvidia-smi -L 2>/dev/null | grep -q GPU; then build=cuda; else build=cpu; fi
venv=.venv
case $what in
  runtime) locks=($build.lock) ;;
  ray|tune|mlflow) locks=($build.lock $what.lock) ;;
  dev) locks=($build.lock dev.lock docs.lock ray.lock tune.lock mlflow.lock) ;;
  calibration) venv=.venv-calibration; locks=(calibration-$build.lock) ;;
  *) echo "error: $what: not runtime, ray, tune, mlflow, dev or calibration" >&2; exit 2 ;;
esac
# torch's CPU build is not on PyPI. For hosts with GPUs it must not be installed.
if [ $build = cpu ]; then locks=(torch-cpu.lock "${locks[@]}"); fi
pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)

install() {  # LOCK
  local lock=requirements/$1 stamp=$venv/$1.sha256
  if sha256sum --check --status "$stamp" 2>/dev/null; then return; fi
  echo "installing $lock (minutes the first time)"
  # Each file must have a hash of the lock, whichever index serves it.
  local all=(install --no-deps --require-hashes --requirement "$lock")
  # torch may come from where pip's own configuration says, else from PyTorch's index,
  # which is asked for nothing else.
  local more=(--index-url https://download.pytorch.org/whl/cpu)
  if "${pip[@]}" "${all[@]}" 2>"$venv/install.log"; then :
  elif [ "$1" = torch-cpu.lock ] && "${pip[@]}" "${all[@]}" "${more[@]}"; then :
  else tail -5 "$venv/install.log" >&2; exit 1
  fi
  sha256sum "$lock" > "$stamp"
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
