#!/usr/bin/env bash
# Makes this machine able to build Gamelan: Debian packages, then LibTorch.
#
# As root, or with a sudo that asks for no password, missing packages are installed. Otherwise the
# exact command is printed and the script stops: it never waits at a prompt. When nothing is missing
# it needs no network.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/packages.sh"

missing=()
for package in "${GAMELAN_PACKAGES[@]}"; do
  status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [[ $status == "install ok installed" ]] || missing+=("$package")
done
# A pip of another origin serves as well as Debian's.
if python3 -m pip --version >/dev/null 2>&1; then
  missing=("${missing[@]/python3-pip/}")
fi
read -ra missing <<<"${missing[*]:-}" || true

if ((${#missing[@]})); then
  install=(apt-get install -y --no-install-recommends "${missing[@]}")
  if ((EUID == 0)); then
    run=(env DEBIAN_FRONTEND=noninteractive)
  elif sudo -n true 2>/dev/null; then
    run=(sudo -n env DEBIAN_FRONTEND=noninteractive)
  else
    echo "gamelan: these packages are missing, and this user may not install them. Run:" >&2
    echo "  sudo apt-get update && sudo ${install[*]}" >&2
    exit 1
  fi
  echo "gamelan: installing ${missing[*]}"
  "${run[@]}" apt-get update -q </dev/null || echo "gamelan: apt-get update failed; trying with the lists at hand" >&2
  if ! "${run[@]}" "${install[@]}" </dev/null; then
    echo "gamelan: apt-get could not install: ${missing[*]}" >&2
    echo "gamelan: is the network reachable, and does /etc/apt/sources.list name Debian 12?" >&2
    exit 1
  fi
fi

# With LibTorch at hand already (CMAKE_PREFIX_PATH, Torch_DIR, a Python package) nothing is fetched;
# cmake/FindLibTorch.cmake applies the same order.
if [[ -z ${CMAKE_PREFIX_PATH:-}${Torch_DIR:-} ]] && ! python3 -c 'import importlib.util as u, sys
from importlib.metadata import version
sys.exit(not (u.find_spec("torch") and tuple(map(int, version("torch").split(".")[:2])) >= (2, 7)))' 2>/dev/null; then
  "$here/fetch_libtorch.sh"
fi
