#!/usr/bin/env bash
# The toy alone and on two processes: what it prints, going on where it stopped, and a finished job.
set -euo pipefail
toy=$1
gamelan=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

expect() { # FILE TEXT: the text is a line of the file
  grep -qxF -- "$2" "$1" || {
    echo "expected a line '$2' in:"
    cat "$1"
    exit 1
  }
}

"$toy" --total-epochs 3 --batch_size 32 --snapshot-path "$folder/alone" > "$folder/log"
expect "$folder/log" "[GPU0] Epoch 2 | Batchsize: 32 | Steps: 64"
"$toy" --total-epochs 5 --batch_size 32 --snapshot-path "$folder/alone" > "$folder/log"
expect "$folder/log" "Resuming training from snapshot at Epoch 3"
expect "$folder/log" "[GPU0] Epoch 4 | Batchsize: 32 | Steps: 64"
"$toy" --total-epochs 5 --batch_size 32 --snapshot-path "$folder/alone" > "$folder/log"
grep -q "has already finished" "$folder/log"

two=("$gamelan" run --standalone --nproc-per-node 2 --max-restarts 0 "$toy" --batch_size 32 --snapshot-path "$folder/two")
"${two[@]}" --total-epochs 4 --save-every 2 > "$folder/log"
expect "$folder/log" "[GPU0] Epoch 3 | Batchsize: 32 | Steps: 32"
expect "$folder/log" "[GPU1] Epoch 3 | Batchsize: 32 | Steps: 32"
"${two[@]}" --total-epochs 6 --save-every 2 > "$folder/log"
expect "$folder/log" "Resuming training from snapshot at Epoch 4"
