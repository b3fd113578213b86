#!/usr/bin/env python3
"""One process with two threads beside two processes with one thread each: tensor parallel 2 and pipeline parallel 2.

Example: compare_ranks.py --gamelan build/release/bin/gamelan --model bloom-354m
Prints what each rank holds against one process (bar: 0.55), what the kernel says is resident, and the rates of reading
a prompt and of generating against one process (bar for tensor parallel 2: 0.9). The layouts take turns within a round;
a ratio is the median of those of the rounds. The table of embeddings stays in the mapped file, of which every process
reads the rows that it looks up; the output head is packed and counted, also when it holds the same numbers.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

LAYOUTS = {"one process": (1, 1), "tensor parallel 2": (2, 1), "pipeline parallel 2": (1, 2)}
MEMORY_BAR = 0.55
RATE_BAR = 0.9


def bench(a, tensor, pipeline):
    ranks = tensor * pipeline
    command = [a.gamelan, "bench", "--model", a.model, "--dtype", a.dtype, "--threads", str(2 // ranks),
               "--prompt-tokens", str(a.prompt_tokens), "--contexts", str(a.context), "--batch-sizes", "1",
               "--decode-tokens", str(a.decode_tokens), "--rounds", "1", "--json", "--tensor-parallel-size",
               str(tensor), "--pipeline-parallel-size", str(pipeline)]
    if ranks > 1:
        command = [a.gamelan, "run", "--standalone", "--nproc-per-node", str(ranks), "--", *command]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {result.returncode}\n{result.stderr}")
    return json.loads(result.stdout[result.stdout.index("{"):])


def print_memory(name, ranks, one):
    for rank, memory in enumerate(ranks):
        share = memory["weight_bytes"] / one["weight_bytes"]
        # What a process has beside the weights is there however few these are.
        print(f"  {name + ', rank ' + str(rank):28} {memory['weight_bytes'] / 1e6:8.1f} MB of weights"
              f" ({share:.3f} of one process{'' if memory is one else ', ' + verdict(share <= MEMORY_BAR)}); resident"
              f" {memory['resident_anonymous_bytes'] / 1e6:.1f} MB of its own"
              f" ({memory['resident_anonymous_bytes'] / one['resident_anonymous_bytes']:.3f}),"
              f" {memory['resident_file_bytes'] / 1e6:.1f} MB of files")


def verdict(met):
    return "met" if met else "MISSED"


def print_rates(results):
    for index, what in enumerate(("prefill", "decode")):
        rates = {name: [r["figures"][index]["tokens_per_second"] for r in rounds] for name, rounds in results.items()}
        for name, values in rates.items():
            ratio = statistics.median(x / y for x, y in zip(values, rates["one process"]))
            bar = f", bar {RATE_BAR}: {verdict(ratio >= RATE_BAR)}" if name.startswith("tensor") else ""
            print(f"  {what:8} {name:20} {statistics.median(values):8.1f} tokens/s ({min(values):.1f} ..."
                  f" {max(values):.1f}), {ratio:.2f} of one process{bar}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gamelan", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--decode-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    a = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    results = {name: [] for name in LAYOUTS}
    for _ in range(a.rounds):
        for name, (tensor, pipeline) in LAYOUTS.items():
            results[name].append(bench(a, tensor, pipeline))
    one = results["one process"][0]["ranks"][0]
    print(f"{a.model}, {a.dtype}, two threads in all, {a.rounds} rounds")
    for name, rounds in results.items():
        print_memory(name, rounds[0]["ranks"], one)
    print_rates(results)


main()
