#!/usr/bin/env bash
# Builds what tests/test_picamera2_root.py runs in: Debian trixie with the real libcamera (trixie-backports), the unmodified Picamera2
# from PyPI, and the shims of tests/picamera2/ that give them a camera. A second call keeps what is there and compiles the shims
# again only where their sources changed.
#   tests/picamera2_root.sh [FOLDER]   default: $PRIVCAM_PICAMERA2_ROOT, else ~/.cache/privcam/picamera2; 1.5 GB
# Needs root rights (or sudo), debootstrap and the network. Nothing is mounted, and nothing outside FOLDER is changed but FOLDER.log and .lock.
set -euo pipefail
export LC_ALL=C

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
root="${1:-${PRIVCAM_PICAMERA2_ROOT:-$HOME/.cache/privcam/picamera2}}"
home=/opt/privcam  # inside
sudo=()
if ((EUID != 0)); then sudo=(sudo -n); fi

fail() { echo "picamera2_root: $1" >&2; exit 1; }
inside() { "${sudo[@]}" env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"; }
logged() {  # what, command...: quiet, its last lines shown where it fails
  local what="$1"
  shift
  "$@" >"$root.log" 2>&1 || { tail -n 12 "$root.log" >&2; fail "$what failed; all of it: $root.log"; }
}
step() {  # name, function: once
  local stamp="$root$home/.step-$1" start=$SECONDS
  if [[ -e "$stamp" ]]; then return; fi
  "$2"
  "${sudo[@]}" mkdir -p "$root$home"
  "${sudo[@]}" touch "$stamp"
  echo "$1: $((SECONDS - start)) s"
}

# The mirror that this machine is set up with; without one debootstrap takes its own.
mirror="$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null | head -n 1 || true)"

system() {
  command -v debootstrap >/dev/null || fail "debootstrap is missing; on Debian and its relatives: apt install debootstrap"
  "${sudo[@]}" rm -rf "$root"
  logged "debootstrap (is a Debian mirror within reach?)" "${sudo[@]}" debootstrap --variant=minbase \
    --include=ca-certificates,python3-minimal,python3-venv trixie "$root" ${mirror:+"$mirror"}
}

libcamera() {
  local own
  own="$(sed -n 's/^deb \([^ ]*\) trixie main.*/\1/p' "$root/etc/apt/sources.list" | head -n 1)"
  echo "deb $own trixie-backports main" | "${sudo[@]}" tee "$root/etc/apt/sources.list.d/backports.list" >/dev/null
  if [[ -e /etc/resolv.conf ]]; then "${sudo[@]}" cp -L /etc/resolv.conf "$root/etc/resolv.conf"; fi
  if [[ -e /etc/ssl/certs/ca-certificates.crt ]]; then
    "${sudo[@]}" install -m644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  fi
  logged "mending a step that was cut" inside dpkg --configure -a
  logged "apt-get update" inside apt-get update -q
  logged "installing libcamera" inside apt-get install -y -q --no-install-recommends -t trixie-backports \
    python3-libcamera libcamera-ipa libcamera-tools libcamera-dev
  logged "installing the compilers" inside apt-get install -y -q --no-install-recommends gcc g++ libc6-dev libcap-dev python3-dev pkg-config
  inside apt-get clean
}

# Picamera2 and what privcam itself needs, without its extras: as on a Pi.
picamera() {
  local own=()
  mapfile -t own < <(inside python3 -c 'import sys, tomllib; print(*tomllib.load(sys.stdin.buffer)["project"]["dependencies"], sep="\n")' \
    <"$here/../pyproject.toml")
  logged "making the environment" inside python3 -m venv --system-site-packages "$home/venv"
  logged "pip install picamera2" inside env PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_NO_CACHE_DIR=1 \
    "$home/venv/bin/pip" install --disable-pip-version-check picamera2==0.3.38 "${own[@]}" 'pytest>=8'
}

# Keeps what was compiled from these very sources, by this very script.
shims() {
  local sources=("$here"/picamera2/{*.cpp,*.h,*.yaml,pykms.py}) now
  now="$(cat "${sources[@]}" "$here/picamera2_root.sh" | sha256sum)"
  if [[ "$(cat "$root$home/.shims" 2>/dev/null)" == "$now" ]]; then return; fi
  "${sudo[@]}" rm -rf "$root$home/.shims" "$root$home/shims"
  "${sudo[@]}" mkdir -p "$root$home/shims" "$root/usr/share/libcamera/pipeline/virtual"
  "${sudo[@]}" cp "${sources[@]}" "$root$home/shims"
  "${sudo[@]}" cp "$here/picamera2/virtual.yaml" "$root/usr/share/libcamera/pipeline/virtual/virtual.yaml"
  "${sudo[@]}" cp "$here/picamera2/pykms.py" "$root$home"/venv/lib/python3*/site-packages/
  logged "compiling the shims" inside sh -ec "cd $home/shims
    g++ -std=c++20 -O2 -Wall -Wextra -Werror -fPIC -shared -o libfakedmabuf.so fake_dmabuf.cpp -ldl
    g++ -std=c++20 -O3 -Wall -Wextra -Werror -fPIC -shared \$(pkg-config --cflags libcamera) -o libhilcam.so hilcam.cpp \$(pkg-config --libs libcamera) -ldl"
  echo "$now" | "${sudo[@]}" tee "$root$home/.shims" >/dev/null
}

if ((EUID != 0)) && ! sudo -n true 2>/dev/null; then fail "root rights are missing: run it as root, or let sudo work without a password"; fi
mkdir -p "$(dirname "$root")"
exec {lock}>"$root.lock"  # one builder at a time; its file stays
flock "$lock"
step system system
step libcamera libcamera
step picamera2 picamera
shims
echo "ready: $root (Debian trixie, libcamera $(inside dpkg-query -W -f '${Version}' libcamera-dev), Picamera2 0.3.38)," \
  "$((SECONDS / 60)) min $((SECONDS % 60)) s"
