#!/usr/bin/env python3
"""Compares models that transformers makes on the spot, with random weights and awkward sizes: their logits, and 200
greedy tokens, alone and on several ranks; of an encoder the last hidden states.

Needs: pip install torch transformers
Example: compare_models.py --gamelan build/release/bin/gamelan
Prints one line a model; fails when a logit differs by more than 1e-4 or a token is another one.
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
import transformers as hf  # noqa: E402

VOCAB = 1003  # divided by none of the rank counts
PROMPT = 40
NEW = 200
IDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
LLAMA = {"vocab_size": VOCAB, "num_hidden_layers": 3, "max_position_embeddings": 512, **IDS}
# name: configuration, tensor x pipeline sizes
MODELS = {
    "bloom 12 heads of 48": (hf.BloomConfig(vocab_size=VOCAB, hidden_size=576, n_head=12, n_layer=3, **IDS),
                             [(2, 1), (4, 1), (1, 2), (1, 3), (2, 2)]),
    "bloom 25 heads of 64": (hf.BloomConfig(vocab_size=VOCAB, hidden_size=1600, n_head=25, n_layer=2, **IDS), [(5, 1)]),
    "gpt2 head 80": (hf.GPT2Config(vocab_size=VOCAB, n_embd=480, n_head=6, n_layer=3, n_positions=512, **IDS), [(2, 1)]),
    "gpt_neox head 96": (hf.GPTNeoXConfig(vocab_size=VOCAB, hidden_size=384, num_attention_heads=4, num_hidden_layers=3,
                                          intermediate_size=1000, max_position_embeddings=512, **IDS), [(2, 1)]),
    "opt head 64": (hf.OPTConfig(vocab_size=VOCAB, hidden_size=256, num_attention_heads=4, num_hidden_layers=3,
                                 ffn_dim=700, word_embed_proj_dim=256, max_position_embeddings=512, **IDS), [(2, 1)]),
    "opt post-norm, projected": (hf.OPTConfig(vocab_size=VOCAB, hidden_size=320, num_attention_heads=4,
                                              num_hidden_layers=3, ffn_dim=700, word_embed_proj_dim=128,
                                              do_layer_norm_before=False, max_position_embeddings=512, **IDS), [(2, 1)]),
    "llama head 128, 4 heads on 2": (hf.LlamaConfig(**LLAMA, hidden_size=512, num_attention_heads=4,
                                                    num_key_value_heads=2, intermediate_size=1111), [(2, 1), (4, 1)]),
    "mistral window 64": (hf.MistralConfig(**LLAMA, hidden_size=384, num_attention_heads=6, num_key_value_heads=3,
                                           head_dim=64, intermediate_size=900, sliding_window=64), [(3, 1)]),
    "qwen2 6 heads on 2": (hf.Qwen2Config(**LLAMA, hidden_size=480, num_attention_heads=6, num_key_value_heads=2,
                                          intermediate_size=800), [(2, 1), (1, 3)]),
    "bert 12 heads of 48": (hf.BertConfig(vocab_size=VOCAB, hidden_size=576, num_attention_heads=12,
                                          num_hidden_layers=3, intermediate_size=1001, max_position_embeddings=512), []),
}


def run(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {result.returncode}\n{result.stderr}")
    return result.stdout


def generated(gamelan, folder, ids, tensor=1, pipeline=1):
    command = [gamelan, "generate", "--model", folder, "--dtype", "f32", "--kv-cache-dtype", "f32", "--input-ids", ids,
               "--max-new-tokens", str(NEW), "--json", "--tensor-parallel-size", str(tensor),
               "--pipeline-parallel-size", str(pipeline)]
    if tensor * pipeline > 1:
        command = [gamelan, "run", "--standalone", "--nproc-per-node", str(tensor * pipeline), "--", *command]
    output = run(command)
    return json.loads(output[output.index("{"):])["results"][0]["texts"][0]["token_ids"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gamelan", required=True)
    parser.add_argument("--only", help="models whose name begins so")
    a = parser.parse_args()
    bad = False
    for seed, (name, (config, sizes)) in enumerate(MODELS.items()):
        if a.only and not name.startswith(a.only):
            continue
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            torch.manual_seed(seed)
            encoder = isinstance(config, hf.BertConfig)
            make = hf.AutoModel if encoder else hf.AutoModelForCausalLM
            model = make.from_config(config, attn_implementation="eager").eval()
            for parameter in model.parameters():  # fresh ones are so small that little depends on them
                if parameter.dim() > 1:
                    parameter.mul_(1.5)
            model.save_pretrained(folder)
            (Path(folder) / "generation_config.json").unlink(missing_ok=True)
            ids = torch.randint(0, VOCAB, (1, PROMPT))
            text = ",".join(map(str, ids[0].tolist()))
            expected = (model(ids).last_hidden_state if encoder else model(ids).logits)[0].numpy()
            out = f"{folder}/logits.npy"
            run([a.gamelan, "eval", "logits", "--model", folder, "--dtype", "f32", "--input-ids", text, "--out", out])
            difference = float(np.abs(np.load(out) - expected).max())
            bad |= difference > 1e-4
            print(f"{name:30} largest {'state' if encoder else 'logit'} {np.abs(expected).max():5.1f}, difference "
                  f"{difference:.1e}", end="", flush=True)
            if not encoder:
                # Without a mask it would leave out tokens of the prompt that happen to be the padding.
                tokens = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False,
                                        pad_token_id=0)[0, PROMPT:].tolist()
                same = {f"{t}x{p}": generated(a.gamelan, folder, text, t, p) == tokens for t, p in [(1, 1), *sizes]}
                bad |= not all(same.values())
                print(f", {NEW} tokens: " + ", ".join(f"{size} {'equal' if equal else 'DIFFER'}"
                                                      for size, equal in same.items()), end="")
            print(flush=True)
    sys.exit(1 if bad else 0)


main()
