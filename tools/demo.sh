#!/usr/bin/env bash
# Fine-tunes a pretrained BERT on sentences of movie reviews, on two processes, and classifies a few.
#   tools/demo.sh BUILD_DIR
# GAMELAN_DEMO_OUTPUT overrides where the model goes (default BUILD_DIR/demo).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${1:?usage: tools/demo.sh BUILD_DIR}
gamelan=$build/bin/gamelan
output=${GAMELAN_DEMO_OUTPUT:-$build/demo}

for program in "$gamelan" "$build/bin/gamelan-train"; do
  if [[ ! -x $program ]]; then
    echo "gamelan: $program is missing; build it first (make demo does)" >&2
    exit 1
  fi
done
data=$("$here/fetch_demo_data.sh")

log=$(mktemp)
trap 'rm -f "$log"' EXIT
command=("$gamelan" run --standalone --nproc-per-node 2
  "$gamelan" train bert-classify
  --model-name-or-path "$data/minilm"
  --train-file "$data/train.jsonl" --validation-file "$data/test.jsonl"
  --output-dir "$output" --overwrite-output-dir
  --num-train-epochs 1 --per-device-train-batch-size 16
  --learning-rate 8e-5 --warmup-ratio 0.1 --dropout 0 --bf16 --group-by-length
  --max-seq-length 128 --save-steps 0 --save-epochs 0 --json)
echo "\$ ${command[*]}"
start=$SECONDS
# The bar goes to standard error, so it stays a bar while the lines are kept.
"${command[@]}" | tee "$log" | grep -v '^{"'
seconds=$((SECONDS - start))

sentences=(
  "A warm, funny and beautifully acted film."
  "Two hours of my life that I will never get back."
  "The plot makes no sense, yet I was smiling all the way through."
  "Clumsy, predictable and far too long."
)
arguments=()
for sentence in "${sentences[@]}"; do
  arguments+=(--text "$sentence")
done
accuracy=$(tail -n 1 "$log" | sed -n 's/.*"accuracy":\([0-9.]*\).*/\1/p')
echo
printf "Held-out accuracy: %.4f after %d s on two processes\n" "$accuracy" "$seconds"
echo "Saved for HuggingFace and Gamelan: $output"
echo "Classified by it:"
"$gamelan" train bert-predict --model-name-or-path "$output" "${arguments[@]}" | sed 's/^/  /'
