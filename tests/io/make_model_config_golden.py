"""Writes tests/io/data/model_config.jsonl: config.json objects and what transformers makes of them.

    python tests/io/make_model_config_golden.py > tests/io/data/model_config.jsonl

The file in the tree was made with transformers 5.23 and torch 2.15.
"""
import json
import logging

from transformers import AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

logging.disable(logging.WARNING)

LONG = {"rope_type": "longrope", "short_factor": [1.0, 1.1, 1.3, 1.9], "long_factor": [1.5, 2.5, 4.0, 8.0]}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 128}
SMALL = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 3}


def small(model, **more):
    return {"model_type": model, **SMALL, **more}


CONFIGS = [
    *({"model_type": m} for m in ("bloom", "gpt2", "gpt_neox", "opt", "llama", "mistral", "qwen2", "bert")),
    # aliases
    {"model_type": "bloom", "n_embed": 48, "n_layer": 5, "num_attention_heads": 12, "vocab_size": 99},
    {"model_type": "bloom", "hidden_size": 48, "n_embed": 96, "n_layer": 5, "num_hidden_layers": 7, "n_head": 12,
     "apply_residual_connection_post_layernorm": True, "tie_word_embeddings": False},
    {"model_type": "gpt2", "n_embd": 36, "n_head": 3, "n_layer": 2, "n_positions": 77, "n_inner": 100,
     "activation_function": "relu", "scale_attn_by_inverse_layer_idx": True, "scale_attn_weights": False},
    {"model_type": "gpt2", "hidden_size": 36, "num_attention_heads": 3, "num_hidden_layers": 4, "n_layer": 2,
     "max_position_embeddings": 66, "eos_token_id": [1, 2], "bos_token_id": None, "n_inner": None},
    small("gpt_neox", rotary_pct=0.5, rotary_emb_base=5000, use_parallel_residual=False, attention_bias=False),
    small("gpt_neox", rope_theta=777.0, hidden_act="gelu_fast", torch_dtype="float16"),
    small("gpt_neox", rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 300.0,
                                       "partial_rotary_factor": 1.0}),
    small("opt", word_embed_proj_dim=16, do_layer_norm_before=False, ffn_dim=40, activation_function="gelu"),
    small("opt", enable_bias=False, layer_norm_elementwise_affine=False, _remove_final_layer_norm=True,
          dtype="bfloat16", torch_dtype="float32"),
    small("llama", num_key_value_heads=2, rope_theta=500000.0, mlp_bias=True, attention_bias=True, head_dim=16),
    small("llama", num_key_value_heads=None, head_dim=None, torch_dtype="bfloat16", pad_token_id=7),
    small("llama", rope_scaling={"type": "linear", "factor": 2.5}),
    small("llama", rope_scaling={"type": "dynamic", "factor": 2.0}, max_position_embeddings=64),
    small("llama", rope_scaling=YARN, max_position_embeddings=2048, rope_theta=1000.0),
    small("llama", rope_parameters={**YARN, "attention_factor": 0.5, "beta_fast": 16, "beta_slow": 2,
                                    "truncate": False, "rope_theta": 123.0}),
    small("llama", rope_parameters={**YARN, "mscale": 0.7, "mscale_all_dim": 1.3}),
    small("llama", rope_scaling={"rope_type": "yarn", "factor": 4.0}),
    small("llama", rope_scaling={"rope_type": "yarn", "factor": 0.5}, max_position_embeddings=100),
    small("llama", rope_scaling={**LONG, "factor": 4.0}, max_position_embeddings=256,
          original_max_position_embeddings=64),
    small("llama", rope_scaling={**LONG, "original_max_position_embeddings": 64}, max_position_embeddings=256),
    small("llama", rope_scaling={**LONG, "original_max_position_embeddings": 64, "attention_factor": 1.7},
          max_position_embeddings=32),
    small("llama", rope_scaling=LLAMA3, rope_theta=50.0, max_position_embeddings=1024),
    small("llama", rope_scaling={"type": "linear", "factor": 2.0}, rope_parameters={"rope_type": "default"}),
    small("llama", rope_parameters={"rope_type": "default", "rope_theta": 9.0}, rope_theta=8.0),
    small("llama", rope_parameters={"rope_type": "default", "partial_rotary_factor": 0.5}),
    small("llama", partial_rotary_factor=0.25, head_dim=16),
    small("mistral", sliding_window=None, head_dim=24, num_key_value_heads=1),
    small("mistral", sliding_window=17, num_key_value_heads=2),
    small("qwen2", use_sliding_window=True, sliding_window=9, max_window_layers=1, num_key_value_heads=None),
    small("qwen2", use_sliding_window=True, max_window_layers=28, num_key_value_heads=2, eos_token_id=5),
    small("qwen2", use_sliding_window=True, sliding_window=8, num_key_value_heads=2,
          layer_types=["full_attention", "sliding_attention", "full_attention"]),
    small("qwen2", num_key_value_heads=4, sliding_window=8, tie_word_embeddings=True, hidden_act="gelu_new"),
    small("bert", intermediate_size=64, hidden_act="gelu_new", type_vocab_size=1, num_labels=3),
    small("bert", id2label={"0": "no", "1": "yes", "2": "maybe"}, architectures=["BertForSequenceClassification"]),
]


def first(config, *names):
    for name in names:
        if hasattr(config, name):
            return getattr(config, name)
    return None


def expected(config):
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    out = {
        "vocab_size": config.vocab_size, "hidden_size": config.hidden_size, "num_layers": config.num_hidden_layers,
        "num_heads": heads, "num_kv_heads": getattr(config, "num_key_value_heads", heads), "head_dim": head_dim,
        "intermediate_size": first(config, "ffn_dim", "intermediate_size", "n_inner") or 4 * config.hidden_size,
        "embedding_size": getattr(config, "word_embed_proj_dim", config.hidden_size),
        "max_positions": getattr(config, "max_position_embeddings", 0),
        "norm_eps": first(config, "layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps") or 1e-5,
        "activation": (first(config, "activation_function", "hidden_act") or "gelu_new").replace("_fast", "_new"),
        "tied_embeddings": config.tie_word_embeddings, "bos": config.bos_token_id, "eos": config.eos_token_id,
        "pad": config.pad_token_id, "dtype": str(config.dtype).split(".")[-1] if config.dtype else None,
        "class_name": (config.architectures or [""])[0],
        "num_labels": config.num_labels,
    }
    if config.model_type in ("mistral", "qwen2"):
        out["sliding_window"] = config.sliding_window or 0
    if config.model_type == "qwen2":
        out["windowed_layers"] = [kind == "sliding_attention" for kind in config.layer_types]
    if config.model_type == "gpt_neox":
        out["parallel_residual"] = config.use_parallel_residual
        out["qkv_bias"] = config.attention_bias
    if config.model_type == "opt":
        out["norm_before"] = config.do_layer_norm_before
        out["norm_affine"] = config.layer_norm_elementwise_affine
        out["qkv_bias"] = config.enable_bias
        out["final_norm"] = config.do_layer_norm_before and not config._remove_final_layer_norm
    if getattr(config, "rope_parameters", None):
        out["rope"] = rope(config, head_dim)
    return out


def rope(config, head_dim):
    parameters = config.rope_parameters
    kind = parameters["rope_type"]
    lengths = [1, config.max_position_embeddings, 4 * config.max_position_embeddings]
    if parameters.get("original_max_position_embeddings"):
        lengths.append(parameters["original_max_position_embeddings"] + 1)
    result = {"kind": kind, "theta": parameters["rope_theta"], "frequencies": []}
    for length in lengths:
        if kind == "default":
            dim = int(head_dim * parameters.get("partial_rotary_factor", 1.0))
            inverse, factor = [parameters["rope_theta"] ** (-2.0 * i / dim) for i in range(dim // 2)], 1.0
        else:
            inverse, factor = ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)
            inverse = inverse.tolist()
        shown = inverse if len(inverse) <= 8 else inverse[:3] + inverse[-3:]
        result["frequencies"].append([length, factor, len(inverse), [float(f"{x:.8g}") for x in shown]])
    return result


for source in CONFIGS:
    values = dict(source)
    made = AutoConfig.for_model(values.pop("model_type"), **values)
    print(json.dumps({"config": source, "expected": expected(made)}))
