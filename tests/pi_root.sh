#!/usr/bin/env bash
# Brings what tests/test_pi_wheels.py runs emulated: Debian's Python for arm64 as on a Raspberry Pi (bookworm: 3.11, trixie:
# 3.13) and the aarch64 wheels of each interpreter. Files are extracted, nothing of them is installed or started.
#   PRIVCAM_PI_ROOT   where to (default ~/.cache/privcam/pi); 500 MB. What is there already is kept.
#   PYTHON            a Python whose pip fetches the wheels
# Needs debootstrap (as root, or with sudo) and dpkg-deb.
set -euo pipefail

root="${PRIVCAM_PI_ROOT:-$HOME/.cache/privcam/pi}"
python="${PYTHON:-python3}"
sudo=()
if ((EUID != 0)); then sudo=(sudo); fi
command -v debootstrap >/dev/null || { echo "debootstrap is missing; on Debian and its relatives: apt install debootstrap" >&2; exit 1; }
mkdir -p "$root"

# The mirror that this machine is set up with; without one debootstrap takes its own.
mirror="$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null | head -n 1 || true)"

system() {  # suite
  local suite="$1" part="$root/$1.part" archives
  if [[ -e "$root/$suite" ]]; then return; fi
  archives="$part/download/var/cache/apt/archives"
  "${sudo[@]}" rm -rf "$part"
  mkdir -p "$part/files"
  "${sudo[@]}" debootstrap --arch=arm64 --download-only --variant=minbase --include=python3,libstdc++6 "$suite" "$part/download" \
    ${mirror:+"$mirror"} >"$root/$suite.log" 2>&1 || { tail -n 5 "$root/$suite.log" >&2; return 1; }
  for package in "$archives"/{lib*,python3*,zlib1g*,media-types*}.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink --no-same-owner -C "$part/files"
  done
  if [[ ! -e "$part/files/lib" ]]; then ln -s usr/lib "$part/files/lib"; fi
  "${sudo[@]}" rm -rf "$part/download"
  mv "$part/files" "$root/$suite"
  rmdir "$part"
}

wheels() {  # folder, Python's version without a dot, requirements
  local site="$root/$1" version="$2" platforms=()
  shift 2
  if [[ -e "$site" ]]; then return; fi
  for tag in manylinux_2_{34,28,27,17}_aarch64 manylinux2014_aarch64; do platforms+=(--platform "$tag"); done
  rm -rf "$site.part"
  "$python" -m pip install --quiet --disable-pip-version-check --no-compile --only-binary=:all: --implementation cp \
    --python-version "$version" "${platforms[@]}" --target "$site.part" "$@" 2>"$site.log" || { cat "$site.log" >&2; return 1; }
  mv "$site.part" "$site"
}

system bookworm
system trixie
wheels litert-2.3.0-cp311 311 ai-edge-litert==2.3.0
wheels litert-2.3.0-cp313 313 ai-edge-litert==2.3.0
wheels litert-2.1.6-cp311 311 ai-edge-litert==2.1.6
wheels litert-2.1.6-cp313 313 ai-edge-litert==2.1.6
wheels runtime-2.14.0-cp311 311 tflite-runtime==2.14.0 'numpy<2'
wheels runtime-2.14.0-numpy2 311 tflite-runtime==2.14.0 'numpy>=2'
echo "ready: $root ($SECONDS s)"
