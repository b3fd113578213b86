#!/usr/bin/env bash
# Runs `gamelan train bert-classify` and transformers + torch DDP (bert_ddp.py) from one saved folder and
# compares them: the losses of the first steps in fp32 (at most 1e-4 apart), and, with --full, an epoch
# with evaluation each.
#
#   bench/peers/compare_bert.sh BUILD_DIR TRAIN_FILE VALIDATION_FILE MODEL_OPTIONS... [-- COMMON_OPTIONS...]
#   bench/peers/compare_bert.sh build/release train.jsonl test.jsonl --model-name-or-path minilm
#   bench/peers/compare_bert.sh build/release train.jsonl test.jsonl \
#       --config-name bench/peers/bert_base.json --tokenizer-name minilm -- --max-seq-length 64
#
# PYTHON names a Python with torch 2.15 and transformers 5.23 (pip install torch==2.15.0 transformers==5.23.0);
# STEPS (10), FULL (0; 1 = also a whole epoch in bf16), NPROC (2), WORK (a temporary folder).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1 train=$2 validation=$3
shift 3
model=() common=()
while (($#)); do
  if [[ $1 == -- ]]; then
    shift
    common=("$@")
    break
  fi
  model+=("$1")
  shift
done
python=${PYTHON:-python3}
nproc=${NPROC:-2}
work=${WORK:-$(mktemp -d)}
gamelan=$build/bin/gamelan
ours=("$gamelan" run --standalone --nproc-per-node "$nproc" "$gamelan" train bert-classify)
theirs=("$python" -m torch.distributed.run --standalone --nproc-per-node "$nproc" "$here/bert_ddp.py")

"$gamelan" train bert-classify "${model[@]}" --train-file "$train" --output-dir "$work/init" --init-only \
  "${common[@]}" >"$work/init.log"

options=(--model-name-or-path "$work/init" --train-file "$train" --dropout 0 "${common[@]}")
first=(--max-steps "${STEPS:-10}" --warmup-ratio 0.2 --logging-steps 1)
export OMP_NUM_THREADS=1
"${ours[@]}" "${options[@]}" "${first[@]}" --output-dir "$work/first" --overwrite-output-dir \
  --save-steps 0 --save-epochs 0 --disable-tqdm | grep ^step >"$work/ours.txt"
"${theirs[@]}" "${options[@]}" "${first[@]}" | grep ^step >"$work/theirs.txt"
"$python" - "$work/ours.txt" "$work/theirs.txt" <<'PYTHON'
import sys
def losses(path):
    return [float(line.split(" loss ")[1].split()[0]) for line in open(path)]
ours, theirs = map(losses, sys.argv[1:])
worst = 0.0
for step, (a, b) in enumerate(zip(ours, theirs, strict=True), 1):
    worst = max(worst, abs(a - b))
    print(f"step {step:3}  gamelan {a:.6f}  torch DDP {b:.6f}  difference {abs(a - b):.1e}")
print(f"largest difference {worst:.1e} (allowed 1e-4): {'equal' if worst <= 1e-4 else 'DIFFERENT'}")
sys.exit(worst > 1e-4)
PYTHON
"$python" "$here/bert_logits.py" --gamelan "$gamelan" --folder "$work/first"

if [[ ${FULL:-0} == 1 ]]; then
  epoch=(--validation-file "$validation" --num-train-epochs 1 --warmup-ratio 0.1 --bf16 --group-by-length --json)
  "${ours[@]}" "${options[@]}" "${epoch[@]}" --output-dir "$work/epoch" --overwrite-output-dir \
    --save-steps 0 --save-epochs 0 | tee "$work/ours-epoch.txt"
  "${theirs[@]}" "${options[@]}" "${epoch[@]}" | tee "$work/theirs-epoch.txt"
fi
