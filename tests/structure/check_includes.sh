#!/usr/bin/env bash
# Fails on any project include that points upward. The table is docs/layers.md's.
#   check_includes.sh SOURCE_ROOT
set -euo pipefail
cd "$1/src"

declare -A allowed=(
  [base]="base"
  [tensor]="tensor base"
  [device]="device base"
  [net]="net base"
  [text]="text base"
  [io]="io tensor text base"
  [kernels]="kernels tensor device base"
  [dist]="dist net tensor device base"
  [launch]="launch dist net base"
  [jobs]="jobs dist net base"
  [train]="train kernels dist io text tensor device base"
  [infer]="infer kernels dist io text tensor device base"
  [serve/core]="serve/core tensor base"
  [serve/http]="serve/http serve/core net text tensor base"
  [serve/grpc]="serve/grpc serve/core net text tensor base"
  [serve/openai]="serve/openai serve/core net text tensor base"
  [serve/metrics]="serve/metrics serve/core net text tensor base"
  [serve/backends]="serve/backends serve/core infer io text tensor base"
)
layer_of() {  # path relative to src/ -> layer
  case $1 in
    serve/*) local rest=${1#serve/}; echo "serve/${rest%%/*}" ;;
    *) echo "${1%%/*}" ;;
  esac
}

bad=0
while IFS=: read -r file line include; do
  target=${include#*\"}
  target=${target%%\"*}
  from=$(layer_of "${file#./}")
  to=$(layer_of "$target")
  if [[ -z ${allowed[$from]:-} ]]; then
    echo "src/${file#./}:$line: folder '$from' is not a layer of docs/layers.md"
    bad=1
  elif [[ " ${allowed[$from]} " != *" $to "* ]]; then
    echo "src/${file#./}:$line: $from may not include $to (\"$target\"); allowed: ${allowed[$from]}"
    bad=1
  fi
done < <(grep -rnE '^\s*#\s*include\s*"' --include='*.h' --include='*.cc' . | sed 's/^\([^:]*\):\([0-9]*\):/\1:\2:/')

# LibTorch belongs to train/ alone.
if grep -rnE '^\s*#\s*include\s*<(torch|ATen|c10)/' --include='*.h' --include='*.cc' . | grep -v '^\./train/'; then
  echo "LibTorch may be included in src/train only"
  bad=1
fi
exit $bad
