#!/usr/bin/env bash
# Builds all_reduce_mpi.cc in a temporary folder and runs it, one process pinned per core.
#   all_reduce_mpi.sh [RANKS] [--json]
# Needs mpicxx and mpirun (Debian: apt-get install libopenmpi-dev openmpi-bin).
set -euo pipefail
for tool in mpicxx mpirun; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install libopenmpi-dev openmpi-bin" >&2; exit 2; }
done
ranks=2
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
  ranks=$1
  shift
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mpicxx -O2 -std=c++17 -o "$folder/all_reduce_mpi" "$(dirname "$0")/all_reduce_mpi.cc"
root=()
[[ $(id -u) != 0 ]] || root=(--allow-run-as-root)
mpirun "${root[@]}" -n "$ranks" --bind-to core "$folder/all_reduce_mpi" "$@"
