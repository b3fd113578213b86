"""Checks that a folder written by `gamelan train bert-classify` means the same to transformers: loads it by
AutoTokenizer and AutoModelForSequenceClassification and compares the logits of a few texts.

Needs: pip install torch==2.15.0 transformers==5.23.0

  bench/peers/bert_logits.py --gamelan build/dev/bin/gamelan --folder out [--file texts.txt]
"""
import argparse
import json
import subprocess
import sys

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

TEXTS = [
    "A warm, funny and beautifully acted film.",
    "Two hours of my life that I will never get back.",
    "Clumsy, predictable and far too long.",
    "Ça va? naïve café — 東京 … [MASK] isn't it? :-)",
    "x",
    "word " * 700,
]

parser = argparse.ArgumentParser()
parser.add_argument("--gamelan", required=True)
parser.add_argument("--folder", required=True)
parser.add_argument("--file", help="one text a line")
parser.add_argument("--tolerance", type=float, default=1e-5)
args = parser.parse_args()
texts = TEXTS
if args.file:
    with open(args.file, encoding="utf-8") as lines:
        texts = [line.rstrip("\n") for line in lines]

command = [args.gamelan, "train", "bert-predict", "--model-name-or-path", args.folder, "--json"]
output = subprocess.run(command, input="\n".join(texts) + "\n", capture_output=True, text=True, check=True).stdout
ours = [json.loads(line) for line in output.splitlines()]
tokenizer = AutoTokenizer.from_pretrained(args.folder)
model, info = AutoModelForSequenceClassification.from_pretrained(args.folder, output_loading_info=True)
assert not info["missing_keys"] and not info["unexpected_keys"], info
model.eval()
worst = 0.0
for text, row in zip(texts, ours, strict=True):
    inputs = tokenizer(text, truncation=True, max_length=model.config.max_position_embeddings,
                       return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    worst = max(worst, (logits - torch.tensor(row["logits"])).abs().max().item())
    assert model.config.id2label[logits.argmax().item()] == row["label"]
print(f"{len(texts)} texts: logits of transformers and Gamelan differ by at most {worst:.2e}")
sys.exit(worst > args.tolerance)
