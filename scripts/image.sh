#!/usr/bin/env bash
# Builds an image without a container daemon and without a hub, as root:
#   scripts/image.sh cpu|cuda
# BASE names a Debian 12 image; left out, debootstrap makes one. What pip is configured to
# use on this machine (an index, a folder of wheels, a certificate) it uses in the build,
# too. Containers and images are in build/containers.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:?usage: scripts/image.sh cpu|cuda}
store=$PWD/build/containers
mkdir -p "$store"
engine() { "$1" --root "$store/storage" --runroot "$store/run" --storage-driver vfs "${@:2}"; }

if [ -z "${BASE:-}" ]; then
  BASE=localhost/debian-root
  if ! engine buildah inspect --type image "$BASE" >/dev/null 2>&1; then
    # An interrupted call may have left a part of it, with what debootstrap mounted.
    umount "$store"/root/proc "$store"/root/sys 2>/dev/null || true
    rm -rf "$store/root"
    # Passwords are dated by SOURCE_DATE_EPOCH.
    SOURCE_DATE_EPOCH=0 debootstrap --variant=minbase bookworm "$store/root"
    # What names this host or this day: the same packages must give the same base.
    rm -rf "$store"/root/etc/{hostname,resolv.conf} "$store"/root/var/log/* \
      "$store"/root/var/cache/{apt,ldconfig}/* "$store"/root/var/lib/apt/lists/*
    holder=$(engine buildah from scratch)
    engine buildah copy --quiet "$holder" "$store/root" / >/dev/null
    engine buildah commit --quiet --rm --timestamp 0 "$holder" "$BASE" >/dev/null
    rm -rf "$store/root"
  fi
fi

# What pip uses here, whichever file or variable says it. `pip config get` reads one file.
setting() {
  python3 -m pip config list 2>/dev/null |
    sed -n "s/^\(:env:\|global\|install\)\.$1='\(.*\)'\$/\2/p" | sed 's/\\n/ /g;1q'
}
options=()
mounted=$'\n'
mount() {  # FOLDER: the same path in the build, once
  case $mounted in *$'\n'$1$'\n'*) return ;; esac
  mounted+=$1$'\n'
  [ ! -d "$1" ] || options+=(--volume "$1:$1:ro")
}
{
  echo "[global]"
  for name in index-url extra-index-url find-links; do
    value=$(setting $name)
    [ -z "$value" ] || echo "$name = $value"
  done
  certificate=$(setting cert)
  [ -z "$certificate" ] || echo "cert = /run/pip.crt"
} > "$store/pip.conf"
options+=(--volume "$store/pip.conf:/etc/pip.conf:ro")
[ -z "$certificate" ] || options+=(--volume "$certificate:/run/pip.crt:ro")
for folder in $(setting find-links); do mount "${folder#file://}"; done
# An index of files names them by paths beside its own folder.
for url in $(setting index-url) $(setting extra-index-url); do
  case $url in file:///*/*) url=${url%/}; mount "$(dirname "${url#file://}")" ;; esac
done
[ -z "${TORCH_INDEX:-}" ] || options+=(--build-arg "TORCH_INDEX=$TORCH_INDEX")

engine buildah build --isolation chroot --network host --layers=false --timestamp 0 \
  "${options[@]}" --build-arg "BASE=$BASE" \
  --file "containers/$kind.Containerfile" --tag "mlperf-sut:$kind" .
