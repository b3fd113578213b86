#!/usr/bin/env python3
"""Lays out the first corpus of each fuzz target for a model's files, out of tests/io/data.

Example: make_corpora.py build/fuzz/corpora && build/fuzz/fuzz/gguf_fuzz build/fuzz/corpora/gguf_fuzz
"""
import json
import pathlib
import struct
import sys

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests/io/data"


def lines(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def safetensors():
    """Small files: one tensor, several of other types and shapes, metadata, no tensor at all."""
    sizes = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I8": 1, "U8": 1, "BOOL": 1}

    def file(tensors, metadata=None):
        header, at = ({"__metadata__": metadata} if metadata else {}), 0
        for name, (dtype, shape) in tensors.items():
            size = sizes[dtype]
            for extent in shape:
                size *= extent
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
            at += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + bytes(range(256)) * (at // 256) + bytes(at % 256)

    yield file({"weight": ("F32", [3, 5])}, {"format": "pt"})
    yield file({f"h.{i}.{dtype}": (dtype, [i, 4]) for i, dtype in enumerate(sizes)})
    yield file({"scalar": ("BF16", []), "empty": ("F16", [0, 7]), "deep": ("U8", [2, 3, 1, 4])})
    yield file({})


def ft_configs():
    keys = {"model_name": "bloom", "num_layer": 2, "head_num": 5, "inter_size": 120, "size_per_head": 6,
            "vocab_size": 37, "tensor_para_size": 2, "weight_data_type": "fp16", "model_variant": "bloom-pre",
            "layernorm_eps": "1e-05", "layernorm_type": "pre_layernorm", "activation_type": "Gelu",
            "has_positional_encoding": False, "has_pre_decoder_layernorm": True, "has_post_decoder_layernorm": True,
            "use_attention_linear_bias": True, "start_id": 1, "end_id": 2}
    text = "".join(f"{key}={value}\n" for key, value in keys.items())
    yield ("[gpt]\n" + text).encode()
    yield ("# made by hand\n[gpt]\n" + text.replace("=", " = ") + "lm_head_layout=vocab_major\n[other]\na=b\n").encode()


def tokenizers():
    """Each with the small map of characters, where a large one is only named."""
    paths = sorted((DATA / "tokenizers").glob("*.json"))
    goldens = {path.stem: json.loads(path.read_text(encoding="utf-8"))["tokenizer"] for path in paths}
    small_map = goldens["unigram_rules"]["normalizer"]["normalizers"][0]["precompiled_charsmap"]
    for tokenizer in goldens.values():
        yield json.dumps(tokenizer).replace("sp_unigram.model", small_map).encode()


def corpora():
    yield "safetensors_fuzz", safetensors()
    yield "ft_config_fuzz", ft_configs()
    yield "gguf_fuzz", [path.read_bytes() for path in sorted((DATA / "gguf").glob("*.gguf"))]
    yield "sentence_piece_fuzz", [path.read_bytes() for path in sorted(DATA.glob("*.model"))]
    yield "torch_archive_fuzz", [path.read_bytes() for path in sorted(DATA.glob("torch_*.bin"))]
    yield "model_config_fuzz", [json.dumps(line["config"]).encode() for line in lines("model_config.jsonl")]
    yield "tokenizer_json_fuzz", tokenizers()


def main():
    for target, seeds in corpora():
        folder = pathlib.Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        seeds = list(seeds)
        for number, seed in enumerate(seeds):
            (folder / f"seed{number:02}").write_bytes(seed)
        print(f"{folder}: {len(seeds)} files")


if __name__ == "__main__":
    main()
