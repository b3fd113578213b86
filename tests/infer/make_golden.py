"""Writes tests/infer/data: tiny models with random weights, as transformers saves them, and their outputs.

    python tests/infer/make_golden.py tests/infer/data [NAME...]

The files in the tree were made with transformers 5.23 and torch 2.15. Weights are stored in bf16 to stay small; the
outputs are those of the same numbers computed in f32. Beside each model:
  expected.json      input_ids, and greedy: the tokens that follow them
  logits.npy         [tokens, vocabulary] (encoders: the last hidden state)
  stepwise.npy       the same token by token, and chunked.npy in chunks of 5, 1 and the rest, where a rotation depends
                     on the length of the text so far
"""
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
import transformers as hf

VOCAB = 97
PROMPT = 13
GREEDY = 24
SMALL = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
         "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2}
LLAMA = {**SMALL, "intermediate_size": 44, "num_key_value_heads": 2}
BLOOM = {"vocab_size": VOCAB, "n_layer": 2}
GPT2 = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 1,
        "eos_token_id": 2}
OPT = {**SMALL, "ffn_dim": 40, "word_embed_proj_dim": 32}
BERT = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 50, "max_position_embeddings": 32}


def rope(kind, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 1000.0, **more}}


# name: (configuration class, its values, model class)
CAUSAL = {
    "bloom_5_heads": ("Bloom", {**BLOOM, "hidden_size": 40, "n_head": 5}),
    "bloom_12_heads": ("Bloom", {**BLOOM, "hidden_size": 36, "n_head": 12}),
    "bloom_post_norm": ("Bloom", {**BLOOM, "hidden_size": 32, "n_head": 4,
                                  "apply_residual_connection_post_layernorm": True}),
    "bloom_separate_head": ("Bloom", {**BLOOM, "hidden_size": 32, "n_head": 2, "tie_word_embeddings": False}),
    "gpt2": ("GPT2", GPT2),
    "gpt2_by_layer": ("GPT2", {**GPT2, "n_inner": 50, "activation_function": "relu", "n_head": 2,
                               "scale_attn_by_inverse_layer_idx": True}),
    "gpt2_unscaled": ("GPT2", {**GPT2, "n_inner": 33, "activation_function": "gelu", "scale_attn_weights": False,
                               "tie_word_embeddings": False}),
    "gpt_neox": ("GPTNeoX", {**SMALL, "intermediate_size": 56, "rotary_pct": 0.5}),
    "gpt_neox_sequential": ("GPTNeoX", {**SMALL, "intermediate_size": 56, "use_parallel_residual": False,
                                        "attention_bias": False, "rotary_pct": 1.0, "hidden_act": "gelu_fast"}),
    "gpt_neox_head_48": ("GPTNeoX", {**SMALL, "hidden_size": 48, "num_attention_heads": 1, "intermediate_size": 48}),
    "opt": ("OPT", OPT),
    "opt_projected": ("OPT", {**OPT, "word_embed_proj_dim": 20, "do_layer_norm_before": False,
                              "activation_function": "gelu"}),
    "opt_plain": ("OPT", {**OPT, "enable_bias": False, "layer_norm_elementwise_affine": False,
                          "_remove_final_layer_norm": True}),
    "llama": ("Llama", LLAMA),
    "llama_biases": ("Llama", {**LLAMA, "num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True,
                               "tie_word_embeddings": True}),
    "llama_head_80": ("Llama", {**LLAMA, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 80,
                                "num_hidden_layers": 1}),
    "llama_linear": ("Llama", {**LLAMA, **rope("linear", factor=2.5)}),
    "llama_dynamic": ("Llama", {**LLAMA, "max_position_embeddings": 8, **rope("dynamic", factor=2.0)}),
    "llama_yarn": ("Llama", {**LLAMA, **rope("yarn", factor=4.0, original_max_position_embeddings=16)}),
    "llama_longrope": ("Llama", {**LLAMA, **rope("longrope", original_max_position_embeddings=8,
                                                 short_factor=[1.0, 1.1, 1.3, 1.9],
                                                 long_factor=[1.5, 2.5, 4.0, 8.0])}),
    "llama_llama3": ("Llama", {**LLAMA, **rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                               original_max_position_embeddings=16)}),
    "mistral": ("Mistral", {**LLAMA, "head_dim": 12, "sliding_window": 5}),
    "mistral_unwindowed": ("Mistral", {**LLAMA, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8,
                                       "sliding_window": None}),
    "qwen2": ("Qwen2", {**LLAMA, "tie_word_embeddings": True}),
    "qwen2_window": ("Qwen2", {**LLAMA, "use_sliding_window": True, "sliding_window": 4,
                               "layer_types": ["full_attention", "sliding_attention"]}),
}
ENCODERS = {
    "bert": ("BertModel", BERT),
    "bert_classifier": ("BertForSequenceClassification", {**BERT, "hidden_act": "gelu_new", "num_attention_heads": 2,
                                                          "id2label": {0: "no", 1: "yes", 2: "maybe"}}),
}


def randomise(model, seed):
    """Weights that make attention and activations do something, rounded to bf16."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        is_norm = "norm" in name.lower() or ".ln_" in name
        if parameter.dim() == 1:
            value = 1 + 0.2 * noise if is_norm and name.endswith("weight") else 0.2 * noise
        elif "embed" in name or "wte" in name or "wpe" in name:
            value = 0.5 * noise
        else:
            value = noise * (1.3 / parameter.shape[-1] ** 0.5)
        parameter.data.copy_(value.bfloat16().float())


def run_chunks(model, ids, sizes):
    cache, rows, start = None, [], 0
    for size in sizes:
        out = model(ids[:, start:start + size], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        rows.append(out.logits[0])
        start += size
    return torch.cat(rows), cache


def greedy(model, ids):
    logits, cache = run_chunks(model, ids, [ids.shape[1]])
    tokens = []
    while len(tokens) < GREEDY:
        tokens.append(int(logits[-1].argmax()))
        out = model(torch.tensor([[tokens[-1]]]), past_key_values=cache, use_cache=True)
        logits, cache = out.logits[0], out.past_key_values
    return tokens


def save(folder, model, extra, arrays):
    if folder.exists():
        shutil.rmtree(folder)
    model.bfloat16().save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "expected.json").write_text(json.dumps(extra) + "\n")
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.float().numpy())


def make_causal(folder, family, values, seed):
    torch.manual_seed(seed)
    config = getattr(hf, f"{family}Config")(**values)
    config._attn_implementation = "eager"
    model = getattr(hf, "OPTForCausalLM" if family == "OPT" else
                    "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM")(config).eval()
    randomise(model, seed)
    ids = torch.randint(3, VOCAB, (1, PROMPT))
    arrays = {"logits": run_chunks(model, ids, [PROMPT])[0]}
    if folder.name in ("llama_dynamic", "llama_longrope"):
        arrays["stepwise"] = run_chunks(model, ids, [1] * PROMPT)[0]
        arrays["chunked"] = run_chunks(model, ids, [5, 1, PROMPT - 6])[0]
    save(folder, model, {"input_ids": ids[0].tolist(), "greedy": greedy(model, ids)}, arrays)


def make_encoder(folder, class_name, values, seed):
    torch.manual_seed(seed)
    config = hf.BertConfig(**values)
    config._attn_implementation = "eager"
    model = getattr(hf, class_name)(config).eval()
    randomise(model, seed)
    ids = torch.randint(3, VOCAB, (1, PROMPT))
    types = torch.tensor([[0] * 6 + [1] * (PROMPT - 6)])
    base = getattr(model, "bert", model)
    hidden = base(ids, token_type_ids=types).last_hidden_state[0]
    extra = {"input_ids": ids[0].tolist(), "types": types[0].tolist()}
    if class_name != "BertModel":
        extra["classes"] = model(ids, token_type_ids=types).logits[0].tolist()
    save(folder, model, extra, {"logits": hidden})


@torch.no_grad()
def main():
    out, wanted = Path(sys.argv[1]), sys.argv[2:]
    for seed, (name, (family, values)) in enumerate(CAUSAL.items()):
        if not wanted or name in wanted:
            make_causal(out / name, family, values, seed)
    for seed, (name, (class_name, values)) in enumerate(ENCODERS.items()):
        if not wanted or name in wanted:
            make_encoder(out / name, class_name, values, 100 + seed)


main()
