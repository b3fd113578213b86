#!/usr/bin/env python3
"""Lays out the first corpus of each fuzz target for a model's files, out of tests/io/data.

Example: make_corpora.py build/fuzz/corpora && build/fuzz/fuzz/gguf_fuzz build/fuzz/corpora/gguf_fuzz
"""
import json
import pathlib
import sys

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests/io/data"


def lines(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def corpora():
    yield "gguf_fuzz", [path.read_bytes() for path in sorted((DATA / "gguf").glob("*.gguf"))]
    yield "sentence_piece_fuzz", [path.read_bytes() for path in sorted(DATA.glob("*.model"))]
    yield "torch_archive_fuzz", [path.read_bytes() for path in sorted(DATA.glob("torch_*.bin"))]
    yield "model_config_fuzz", [json.dumps(line["config"]).encode() for line in lines("model_config.jsonl")]
    tokenizers = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((DATA / "tokenizers").glob("*.json"))]
    yield "tokenizer_json_fuzz", [json.dumps(golden["tokenizer"]).encode() for golden in tokenizers]


def main():
    for target, seeds in corpora():
        folder = pathlib.Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds):
            (folder / f"seed{number:02}").write_bytes(seed)
        print(f"{folder}: {len(seeds)} files")


if __name__ == "__main__":
    main()
