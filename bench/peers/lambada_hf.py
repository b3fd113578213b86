#!/usr/bin/env python3
"""transformers over LAMBADA as FasterTransformer's bloom_lambada.py --test-hf runs it; beside `gamelan eval lambada`
with --gamelan.

Needs: pip install torch transformers
Example: lambada_hf.py --model DIR --dataset-path lambada_test.jsonl --dtypes float32,bfloat16 --threads 2
           --gamelan build/release/bin/gamelan --gamelan-dtypes f32,bf16,int8 --tensor-parallel-checkpoint OUT
Each text is divided at its last space; batches in file order, padded on the left; every target is generated greedily,
token by token, to the longest target of its batch. The time is that of generate() alone, on both sides. The rows go in
parts, each by every program in turn, pinned to the same CPUs, so that a machine that slows down slows all of them.
Printed are the sums over the parts, in how many rows the tokens are those of the first program, and how many times
faster each type of ours is than each of transformers'.
With --results what each part gave lies in that file, and the same command goes on where it was interrupted.
--tensor-parallel-checkpoint names a folder of `gamelan convert -tp 2`, which two ranks with half the threads each run.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch  # noqa: E402
import transformers  # noqa: E402

SLEEP = 0.3  # idle threads of OpenMP poll that long at most before they leave the cores to the next program


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


class Transformers:
    def __init__(self, a, dtype):
        self.batch_size = a.batch_size
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(a.tokenizer_path or a.model)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(a.model, dtype=getattr(torch, dtype)).eval()
        # No token ends a text: every row takes the same number of steps on both sides.
        self.model.generation_config.eos_token_id = None
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else 0

    @torch.inference_mode()
    def run(self, rows):
        """([(target's tokens, tokens that the model wrote) of each row], seconds of generate())"""
        written = []
        elapsed = 0
        for start in range(0, len(rows), self.batch_size):
            batch = rows[start:start + self.batch_size]
            inputs = [self.tokenizer(text)["input_ids"] for text, _ in batch]
            targets = [self.tokenizer(target, add_special_tokens=False)["input_ids"] for _, target in batch]
            width = max(map(len, inputs))
            ids = torch.tensor([[self.pad] * (width - len(x)) + x for x in inputs])
            mask = torch.tensor([[0] * (width - len(x)) + [1] * len(x) for x in inputs])
            new = max(map(len, targets))
            begin = time.perf_counter()
            out = self.model.generate(ids, attention_mask=mask, max_new_tokens=new, do_sample=False, num_beams=1,
                                      pad_token_id=self.pad)
            elapsed += time.perf_counter() - begin
            written += [(target, row[:len(target)]) for row, target in zip(out[:, width:].tolist(), targets)]
        return written, elapsed


class Gamelan:
    """`gamelan eval lambada`, a process each time (--ranks of them): it loads the model before its clock runs."""

    def __init__(self, a, checkpoint, dtype, ranks=1):
        self.command = [a.gamelan, "eval", "lambada", "--checkpoint-path", checkpoint, "--tokenizer-path",
                        a.tokenizer_path or a.model, "--batch-size", str(a.batch_size), "--threads",
                        str(a.threads // ranks), "--dtype", dtype, "--json"]
        if ranks > 1:
            self.command = [a.gamelan, "run", "--standalone", "--nproc-per-node", str(ranks), "--", *self.command,
                            "--tensor-parallel-size", str(ranks)]

    def run(self, rows):
        with tempfile.TemporaryDirectory() as folder:
            data, output = Path(folder) / "rows.jsonl", Path(folder) / "output.json"
            data.write_text("".join(json.dumps({"text": text + target}) + "\n" for text, target in rows))
            result = subprocess.run([*self.command, "--dataset-path", data, "--output-path", output],
                                    capture_output=True, text=True)
            if result.returncode != 0:
                sys.exit(f"{' '.join(self.command)}: exit {result.returncode}\n{result.stderr}")
            written = [(row["target_ids"], row["output_ids"]) for row in json.loads(output.read_text())]
        report = json.loads(result.stdout[result.stdout.index("{"):])
        assert report["correct"] == count_correct(written)
        return written, report["generation_seconds"]


def count_correct(written):
    return sum(target == output for target, output in written)


def programs_of(a):
    """{name: program}, transformers' first."""
    programs = {f"transformers {dtype}": Transformers(a, dtype) for dtype in a.dtypes.split(",")}
    if a.gamelan:
        for dtype in a.gamelan_dtypes.split(","):
            programs[f"gamelan {dtype}"] = Gamelan(a, a.model, dtype)
        if a.tensor_parallel_checkpoint:
            for dtype in a.tensor_parallel_dtypes.split(","):
                programs[f"gamelan {dtype}, 2 ranks"] = Gamelan(a, a.tensor_parallel_checkpoint, dtype, ranks=2)
    return programs


def read_results(a, programs):
    """results of the parts that --results holds: {name: [(written, seconds) of each part]}"""
    if not a.results or not a.results.exists():
        return {name: [] for name in programs}
    held = json.loads(a.results.read_text())
    if held["settings"] != settings_of(a) or list(held["results"]) != list(programs):
        sys.exit(f"{a.results}: expected the results of {settings_of(a)} by {list(programs)}, got those of "
                 f"{held['settings']} by {list(held['results'])}")
    return {name: [([tuple(row) for row in written], seconds) for written, seconds in parts]
            for name, parts in held["results"].items()}


def write_results(a, results):
    new = a.results.with_suffix(".new")
    new.write_text(json.dumps({"settings": settings_of(a), "results": results}))
    new.replace(a.results)


def settings_of(a):
    return {name: getattr(a, name) for name in ("model", "dataset_path", "batch_size", "threads", "rows", "part_rows")}


def print_sums(results):
    """results: {name: [(written, seconds) of each part]}"""
    everything = {name: [row for written, _ in parts for row in written] for name, parts in results.items()}
    first = next(iter(everything.values()))
    for name, parts in results.items():
        written = everything[name]
        correct, count = count_correct(written), len(written)
        equal = sum(x == y for x, y in zip(first, written))
        print(f"{name}: Accuracy: {100 * correct / count:.4f}% ({correct}/{count}) (elapsed time: "
              f"{sum(seconds for _, seconds in parts):.4f} sec), the same tokens in {equal} rows")
    for ours in (name for name in results if name.startswith("gamelan")):
        for theirs in (name for name in results if name.startswith("transformers")):
            ratios = [x[1] / y[1] for x, y in zip(results[theirs], results[ours])]
            ratio = sum(x[1] for x in results[theirs]) / sum(y[1] for y in results[ours])
            print(f"{ours} is {ratio:.2f} times faster than {theirs} (parts: {min(ratios):.2f} ... {max(ratios):.2f})")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokenizer-path")
    parser.add_argument("--dataset-path", required=True)
    parser.add_argument("--dtypes", default="float32", help="of transformers: float32,bfloat16")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, help="the first so many (default: all)")
    parser.add_argument("--part-rows", type=int, default=512, help="a multiple of --batch-size")
    parser.add_argument("--results", type=Path, help="file of the parts that are done")
    parser.add_argument("--gamelan")
    parser.add_argument("--gamelan-dtypes", default="f32")
    parser.add_argument("--tensor-parallel-checkpoint", help="folder of `gamelan convert -tp 2`")
    parser.add_argument("--tensor-parallel-dtypes", default="bf16")
    a = parser.parse_args()
    if a.part_rows < 1 or a.part_rows % a.batch_size != 0:
        parser.error(f"--part-rows must be a multiple of --batch-size ({a.batch_size}), not {a.part_rows}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:a.threads])  # the programs that it starts inherit it
    torch.set_num_threads(a.threads)

    rows = load_rows(a.dataset_path, a.rows)
    programs = programs_of(a)
    for program in programs.values():
        program.run(rows[:a.batch_size])  # warm-up
    results = read_results(a, programs)
    for start in range(a.part_rows * len(next(iter(results.values()))), len(rows), a.part_rows):
        part = rows[start:start + a.part_rows]
        for name, program in programs.items():
            time.sleep(SLEEP)
            results[name].append(program.run(part))
        print(f"rows {start + len(part)}:", ", ".join(f"{name} {parts[-1][1]:.1f} s ({count_correct(parts[-1][0])})"
                                                      for name, parts in results.items()), flush=True)
        if a.results:
            write_results(a, results)
    print_sums(results)


main()
