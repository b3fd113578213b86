#!/usr/bin/env python3
"""transformers over LAMBADA as FasterTransformer's bloom_lambada.py --test-hf runs it; beside `gamelan eval lambada`
with --gamelan.

Needs: pip install torch transformers
Example: lambada_hf.py --model DIR --dataset-path lambada_test.jsonl --dtype bfloat16 --threads 2
           --gamelan build/release/bin/gamelan --gamelan-dtype bf16 --rounds 3 --rows 512
Each text is divided at its last space; batches in file order, padded on the left; every target is generated greedily,
token by token, to the longest target of its batch. The time is that of generate() alone, on both sides. With --gamelan both
run in turn, --rounds times, pinned to the same CPUs; the last lines are the medians and their ratio.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch  # noqa: E402
import transformers  # noqa: E402


def load_rows(path, count):
    rows = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if count and len(rows) == count:
                break
            text = json.loads(line)["text"]
            at = text.rindex(" ")
            rows.append((text[:at], text[at:]))
    return rows


def run_hf(model, tokenizer, rows, batch_size):
    correct = elapsed = 0
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    for start in range(0, len(rows), batch_size):
        batch = rows[start:start + batch_size]
        inputs = [tokenizer(text)["input_ids"] for text, _ in batch]
        targets = [tokenizer(target, add_special_tokens=False)["input_ids"] for _, target in batch]
        width = max(map(len, inputs))
        ids = torch.tensor([[pad] * (width - len(x)) + x for x in inputs])
        mask = torch.tensor([[0] * (width - len(x)) + [1] * len(x) for x in inputs])
        new = max(map(len, targets))
        begin = time.perf_counter()
        out = model.generate(ids, attention_mask=mask, max_new_tokens=new, do_sample=False, num_beams=1,
                             pad_token_id=pad)
        elapsed += time.perf_counter() - begin
        for row, target in zip(out[:, width:].tolist(), targets):
            correct += row[:len(target)] == target
    return correct, elapsed


def run_gamelan(a, data):
    command = [a.gamelan, "eval", "lambada", "--checkpoint-path", a.gamelan_model or a.model, "--tokenizer-path",
               a.tokenizer_path or a.model, "--dataset-path", data, "--batch-size", str(a.batch_size), "--threads",
               str(a.threads), "--dtype", a.gamelan_dtype, "--json"]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result["correct"], result["generation_seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokenizer-path")
    parser.add_argument("--dataset-path", required=True)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, help="the first so many (default: all)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--gamelan")
    parser.add_argument("--gamelan-model")
    parser.add_argument("--gamelan-dtype", default="f32")
    a = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:a.threads])
    torch.set_num_threads(a.threads)

    tokenizer = transformers.AutoTokenizer.from_pretrained(a.tokenizer_path or a.model)
    model = transformers.AutoModelForCausalLM.from_pretrained(a.model, dtype=getattr(torch, a.dtype)).eval()
    # No token ends a text: every row takes the same number of steps on both sides.
    model.generation_config.eos_token_id = None
    rows = load_rows(a.dataset_path, a.rows)
    with torch.inference_mode(), tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for text, target in rows:
            file.write(json.dumps({"text": text + target}) + "\n")
        file.flush()
        run_hf(model, tokenizer, rows[:a.batch_size], a.batch_size)  # warm-up
        times = {"transformers": [], "gamelan": []}
        for _ in range(a.rounds):
            correct, elapsed = run_hf(model, tokenizer, rows, a.batch_size)
            times["transformers"].append(elapsed)
            print(f"transformers {a.dtype}: Accuracy: {100 * correct / len(rows):.4f}% ({correct}/{len(rows)}) "
                  f"(elapsed time: {elapsed:.4f} sec)", flush=True)
            if a.gamelan:
                correct, elapsed = run_gamelan(a, file.name)
                times["gamelan"].append(elapsed)
                print(f"gamelan {a.gamelan_dtype}: Accuracy: {100 * correct / len(rows):.4f}% ({correct}/{len(rows)}) "
                      f"(elapsed time: {elapsed:.4f} sec)", flush=True)
    if a.gamelan:
        medians = {name: statistics.median(values) for name, values in times.items()}
        print(f"medians: transformers {a.dtype} {medians['transformers']:.3f} s, gamelan {a.gamelan_dtype} "
              f"{medians['gamelan']:.3f} s: {medians['transformers'] / medians['gamelan']:.2f} times shorter")


main()
