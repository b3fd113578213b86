#!/usr/bin/env bash
# Unpacks the CPU part of the pinned LibTorch into a cache outside the build folder.
#
#   tools/fetch_libtorch.sh               fetch unless it is there
#   tools/fetch_libtorch.sh --print-root  print where it is or would be, fetch nothing
#
# GAMELAN_CACHE overrides the cache folder (default ${XDG_CACHE_HOME:-~/.cache}/gamelan).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/fetch_pypi.sh"

torch_version=2.15.0
torch_sha256=48c2d861134c0b5697c7602cb5ffa68f62a2989fdcd1717e593356f67996ca1e
cudart_version=13.5.37
cudart_sha256=df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d
cupti_version=13.5.25
cupti_sha256=9dcca41c12a734192b14e7128ae116bc9ce1b9da686e2ebf48ae7a4415f76650

cache=${GAMELAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gamelan}
root=$cache/libtorch-$torch_version

if [[ ${1:-} == --print-root ]]; then
  echo "$root/torch"
  exit 0
fi
[[ -e $root/complete ]] && exit 0

mkdir -p "$cache"
work=$(mktemp -d "$cache/unpack.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/wheels" "$work/unpacked"
platform=(--only-binary :all: --platform manylinux_2_28_x86_64 --python-version 311)
echo "gamelan: fetching LibTorch $torch_version (540 MB, once) into $root"
torch=$(fetch_pypi torch $torch_version $torch_sha256 "$work/wheels" "${platform[@]}")
cudart=$(fetch_pypi nvidia-cuda-runtime $cudart_version $cudart_sha256 "$work/wheels" \
  --only-binary :all: --platform manylinux2014_x86_64)
cupti=$(fetch_pypi nvidia-cuda-cupti $cupti_version $cupti_sha256 "$work/wheels" \
  --only-binary :all: --platform manylinux_2_25_x86_64)

unzip -q "$torch" 'torch/include/*' 'torch/lib/libtorch_cpu.so' 'torch/lib/libc10.so' \
  'torch/lib/lib*.so.*' 'torch-*.dist-info/*' -d "$work/unpacked"
unzip -q "$cudart" '*/libcudart.so*' '*.dist-info/*' -d "$work/unpacked"
unzip -q "$cupti" '*/libcupti.so*' '*.dist-info/*' -d "$work/unpacked"
touch "$work/unpacked/complete"
# Two builds may fetch at once: the first to arrive wins, the other drops its copy.
mv -T "$work/unpacked" "$root" 2>/dev/null || [[ -e $root/complete ]]
