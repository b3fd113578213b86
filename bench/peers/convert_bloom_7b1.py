#!/usr/bin/env python3
"""Converts a BLOOM of bloom-7b1's exact shapes (bf16, patterned numbers, 14 GB) with `gamelan convert -tp 2 -dt fp16` and checks
every file against docs/formats/faster_transformer.md by a reader of its own, written with numpy alone: 545 .bin files and
config.ini. Prints time, peak memory and its bound. Needs twice the model's size on disk, which it frees at the end.

    bench/peers/convert_bloom_7b1.py --gamelan build/release/bin/gamelan --work /var/tmp
    bench/peers/convert_bloom_7b1.py --gamelan build/dev/bin/gamelan --hidden 96 --heads 6 --layers 3 --vocab 1001 --full
"""

import argparse
import json
import os
import pathlib
import shutil
import struct
import sys
import tempfile
import time

import numpy as np


def shapes_of(a):
    h, v = a.hidden, a.vocab
    yield "word_embeddings.weight", (v, h)
    for name in ("word_embeddings_layernorm", "ln_f"):
        yield name + ".weight", (h,)
        yield name + ".bias", (h,)
    for i in range(a.layers):
        for name, out, inputs in (("input_layernorm", h, 0), ("self_attention.query_key_value", 3 * h, h),
                                  ("self_attention.dense", h, h), ("post_attention_layernorm", h, 0),
                                  ("mlp.dense_h_to_4h", 4 * h, h), ("mlp.dense_4h_to_h", h, 4 * h)):
            yield f"h.{i}.{name}.weight", (out, inputs) if inputs else (out,)
            yield f"h.{i}.{name}.bias", (out,)


def write_source(folder, a):
    """One shard a layer and one for the rest. Rows differ, so a row or a column in the wrong place shows."""
    folder.mkdir()
    config = {"model_type": "bloom", "architectures": ["BloomForCausalLM"], "dtype": "bfloat16", "vocab_size": a.vocab,
              "hidden_size": a.hidden, "n_head": a.heads, "n_layer": a.layers, "bos_token_id": 1, "eos_token_id": 2}
    (folder / "config.json").write_text(json.dumps(config))
    noise = (np.random.default_rng(7).standard_normal(1 << 20) * 0.05).astype(np.float32).view(np.uint32) >> 16
    noise = np.tile(noise.astype(np.uint16), 3)
    shards = {}
    for name, shape in shapes_of(a):
        shards.setdefault(name.split(".")[1] if name.startswith("h.") else "rest", []).append((name, shape))
    index = {}
    for shard, tensors in shards.items():
        file = f"model-{shard}.safetensors"
        header, at = {}, 0
        for name, shape in tensors:
            size = 2 * int(np.prod(shape))
            header["transformer." + name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
            index["transformer." + name] = file
            at += size
        text = json.dumps(header).encode()
        with open(folder / file, "wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            for number, (name, shape) in enumerate(tensors):
                width = shape[-1] if len(shape) > 1 else int(np.prod(shape))
                for row in range(shape[0] if len(shape) > 1 else 1):
                    first = (row * 7919 + number * 104729) % (1 << 20)
                    chunk = noise[first:first + min(width, 1 << 20)]
                    for start in range(0, width, len(chunk)):
                        out.write(chunk[:width - start].tobytes())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return index


def open_tensor(folder, file, name):
    with open(folder / file, "rb") as f:
        length = struct.unpack("<Q", f.read(8))[0]
        entry = json.loads(f.read(length))["transformer." + name]
    return np.memmap(folder / file, np.uint16, "r", 8 + length + entry["data_offsets"][0], tuple(entry["shape"]))


def to_f16(bits):
    return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32).astype(np.float16)


def file_stem(name):
    fixed = {"word_embeddings.weight": "model.wte", "ln_f": "model.final_layernorm",
             "word_embeddings_layernorm": "model.pre_decoder_layernorm"}
    for key, value in fixed.items():
        if name == key or name.rsplit(".", 1)[0] == key:
            return value if name == key else value + "." + name.rsplit(".", 1)[1]
    return "model.layers." + name[2:].replace("self_attention", "attention")


def expected_parts(source, name, inputs, a):
    """{file suffix: numbers of those inputs [inputs, ...]}; of all when the tensor is a vector."""
    t, n, d = a.tp, a.heads, a.hidden // a.heads
    values = to_f16(source[:, inputs]).T if source.ndim > 1 else to_f16(source)
    if "query_key_value" in name:
        values = np.moveaxis(values.reshape(values.shape[:-1] + (n, 3, d)), -2, -3)
        parts = np.split(values, t, axis=-2)
        return {f".{r}": p.reshape(p.shape[:-3] + (3 * n // t * d,)) for r, p in enumerate(parts)}
    if "dense_h_to_4h" in name:
        return {f".{r}": p for r, p in enumerate(np.split(values, t, axis=-1))}
    return {"": values}


def check_tensor(folder, out, name, file, a, rng):
    source = open_tensor(folder, file, name)
    stem = file_stem(name)
    def read(suffix, shape):
        path = out / f"{stem}{suffix}.bin"
        assert path.stat().st_size == 2 * int(np.prod(shape)), f"{path}: {path.stat().st_size} bytes, expected {shape}"
        return np.memmap(path, np.float16, "r", shape=shape)
    def same(got, want, suffix):
        assert np.array_equal(np.asarray(got).view(np.uint16), np.ascontiguousarray(want).view(np.uint16)), name + suffix
    if name == "word_embeddings.weight" or (source.ndim == 1 and "h_to_4h" not in name and "query_key" not in name):
        got = read("", source.shape)
        for start in range(0, source.shape[0], 1 << 14):
            same(got[start:start + (1 << 14)], to_f16(source[start:start + (1 << 14)]), "")
        return 1
    if source.ndim == 1:
        parts = expected_parts(source, name, None, a)
        for suffix, want in parts.items():
            same(read(suffix, want.shape), want, suffix)
        return len(parts)
    width = source.shape[1]
    inputs = np.arange(width) if a.full else np.sort(rng.choice(width, min(width, 64), replace=False))
    if name.endswith(("self_attention.dense.weight", "dense_4h_to_h.weight")):
        share = width // a.tp
        files = [read(f".{r}", (share, source.shape[0])) for r in range(a.tp)]
        want = to_f16(source[:, inputs]).T
        for k, i in enumerate(inputs):
            same(files[i // share][i % share], want[k], f" input {i}")
        return a.tp
    parts = expected_parts(source, name, inputs, a)
    for suffix, want in parts.items():
        same(read(suffix, (width, source.shape[0] // a.tp))[inputs], want, suffix)
    return len(parts)


def convert(a, source, target):
    command = [a.gamelan, "convert", "-i", str(source), "-o", str(target), "-tp", str(a.tp), "-dt", "fp16", "-p",
               str(a.processes)]
    start = time.monotonic()
    pid = os.posix_spawn(a.gamelan, command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, f"gamelan convert ended with {status}"
    largest = 4 * max(int(np.prod(shape)) for _, shape in shapes_of(a)) / 2**20 / 2  # bf16
    bound = 1.5 * largest + 64 * a.processes
    print(f"{time.monotonic() - start:.1f} s, peak {usage.ru_maxrss / 1024:.0f} MiB; bound {bound:.0f} MiB (1.5 x the "
          f"largest tensor, {largest:.0f} MiB, and 64 MiB for each of {a.processes} workers)")
    return usage.ru_maxrss / 1024 < bound


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--gamelan", required=True)
    p.add_argument("--work", default=None, help="a folder with room for twice the model")
    for name, value in (("hidden", 4096), ("heads", 32), ("layers", 30), ("vocab", 250880), ("tp", 2), ("processes", 2)):
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--full", action="store_true", help="compare all numbers of the matrices, not 64 inputs of each")
    a = p.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="bloom-7b1-", dir=a.work))
    try:
        index = write_source(work / "source", a)
        print(f"source: {len(index)} tensors, {sum(int(np.prod(s)) for _, s in shapes_of(a)):,} numbers in bf16")
        bounded = convert(a, work / "source", work / "out")
        out = work / "out" / f"{a.tp}-gpu"
        rng = np.random.default_rng(1)
        files = sum(check_tensor(work / "source", out, name[len("transformer."):], file, a, rng)
                    for name, file in index.items())
        there = sorted(path.name for path in out.iterdir())
        assert len(there) == files + 1 and "config.ini" in there, f"{len(there)} files, expected {files} and config.ini"
        print(f"{files} .bin files and config.ini: all equal")
        return 0 if bounded else 1
    finally:
        shutil.rmtree(work)


sys.exit(main())
