#!/usr/bin/env python3
"""Writes a HuggingFace folder with random weights of a real shape, for measurements that need no trained model.

Needs: pip install torch transformers
Example: make_random_model.py bloom-354m --hidden-size 1024 --layers 24 --heads 16 --vocab-size 50257
           --tokenizer-path gpt2
Random weights say nothing true, but take the time and the memory of true ones. They have the size that training gives
(standard deviation 0.02, projections to the residual stream smaller), so that logits are neither flat nor infinite.
"""
import argparse
import shutil
from pathlib import Path

import tokenizers
import torch
import transformers


def config_of(a):
    if a.family == "bloom":
        return transformers.BloomConfig(vocab_size=a.vocab_size, hidden_size=a.hidden_size, n_layer=a.layers,
                                        n_head=a.heads, bos_token_id=None, eos_token_id=None, pad_token_id=None)
    if a.family == "gpt2":
        return transformers.GPT2Config(vocab_size=a.vocab_size, n_embd=a.hidden_size, n_layer=a.layers, n_head=a.heads,
                                       n_positions=2048, bos_token_id=None, eos_token_id=None)
    return transformers.LlamaConfig(vocab_size=a.vocab_size, hidden_size=a.hidden_size, num_hidden_layers=a.layers,
                                    num_attention_heads=a.heads, num_key_value_heads=a.kv_heads or a.heads,
                                    intermediate_size=a.intermediate_size or 4 * a.hidden_size,
                                    max_position_embeddings=2048, bos_token_id=None, eos_token_id=None)


def save_tokenizer(source, out):
    """A folder's tokenizer.json, or one made of vocab.json and merges.txt, whatever stands in front of their names."""
    if (source / "tokenizer.json").exists():
        shutil.copy(source / "tokenizer.json", out)
        return
    vocabulary, merges = (next(source.glob("*" + name)) for name in ("vocab.json", "merges.txt"))
    tokenizer = tokenizers.ByteLevelBPETokenizer(str(vocabulary), str(merges))
    tokenizer.save(str(out / "tokenizer.json"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--family", choices=["bloom", "gpt2", "llama"], default="bloom")
    parser.add_argument("--hidden-size", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--kv-heads", type=int)
    parser.add_argument("--intermediate-size", type=int)
    parser.add_argument("--vocab-size", type=int, default=50257)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizer-path", type=Path, help="folder whose tokenizer files are copied")
    a = parser.parse_args()

    torch.manual_seed(a.seed)
    model = transformers.AutoModelForCausalLM.from_config(config_of(a)).eval()
    model.to(getattr(torch, a.dtype)).save_pretrained(a.out)
    (a.out / "generation_config.json").unlink(missing_ok=True)
    if a.tokenizer_path:
        save_tokenizer(a.tokenizer_path, a.out)
    print(f"{a.out}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, random")


main()
