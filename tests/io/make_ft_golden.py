"""Writes data/ft_golden.json: the sha256 of every file that a FasterTransformer folder must hold for
small BLOOM models, and one of their files' tables. Numbers follow a rule that ft_writer_test.cc repeats:
number i of tensor k is ((i * 2654435761 + k * 40503) mod 2^32) / 2^31 - 1, rounded to f32.

    python3 tests/io/make_ft_golden.py > tests/io/data/ft_golden.json
"""

import configparser
import hashlib
import io
import json

import numpy as np


def numbers(count, k):
    i = np.arange(count, dtype=np.uint64)
    raw = (i * np.uint64(2654435761) + np.uint64(k * 40503)) % np.uint64(1 << 32)
    return (raw.astype(np.float64) / 2.0**31 - 1.0).astype(np.float32)


def source(heads, dim, layers, vocab, head):
    h = heads * dim
    shapes = [("word_embeddings.weight", (vocab, h)),
              ("word_embeddings_layernorm.weight", (h,)), ("word_embeddings_layernorm.bias", (h,))]
    for i in range(layers):
        p = f"h.{i}."
        shapes += [(p + "input_layernorm.weight", (h,)), (p + "input_layernorm.bias", (h,)),
                   (p + "self_attention.query_key_value.weight", (3 * h, h)),
                   (p + "self_attention.query_key_value.bias", (3 * h,)),
                   (p + "self_attention.dense.weight", (h, h)), (p + "self_attention.dense.bias", (h,)),
                   (p + "post_attention_layernorm.weight", (h,)), (p + "post_attention_layernorm.bias", (h,)),
                   (p + "mlp.dense_h_to_4h.weight", (4 * h, h)), (p + "mlp.dense_h_to_4h.bias", (4 * h,)),
                   (p + "mlp.dense_4h_to_h.weight", (h, 4 * h)), (p + "mlp.dense_4h_to_h.bias", (h,))]
    shapes += [("ln_f.weight", (h,)), ("ln_f.bias", (h,))]
    if head:
        shapes.append(("lm_head.weight", (vocab, h)))
    return [(n, numbers(int(np.prod(s)), k).reshape(s)) for k, (n, s) in enumerate(shapes)]


def config(heads, dim, layers, vocab, head, tp, dtype):
    """config.ini as the original converter writes it, by Python's own writer."""
    ini = configparser.ConfigParser()
    ini["gpt"] = {
        "model_name": "tiny", "num_layer": layers, "head_num": heads, "inter_size": 4 * heads * dim,
        "size_per_head": dim, "vocab_size": vocab, "tensor_para_size": tp,
        "weight_data_type": {"float32": "fp32", "float16": "fp16"}[dtype], "model_variant": "bloom-pre",
        "layernorm_eps": 1e-5, "layernorm_type": "pre_layernorm", "activation_type": "Gelu",
        "has_positional_encoding": False, "has_pre_decoder_layernorm": True, "has_post_decoder_layernorm": True,
        "use_attention_linear_bias": True, "start_id": 1, "end_id": 2}
    if head:  # ours: says that the head is not the original's, which has another layout
        ini["gpt"]["lm_head_layout"] = "vocab_hidden"
    text = io.StringIO()
    ini.write(text, space_around_delimiters=False)
    return text.getvalue()


def files(heads, dim, layers, vocab, head, tp, dtype):
    result = {}
    fixed = {"word_embeddings.weight": "wte", "word_embeddings_layernorm.weight": "pre_decoder_layernorm.weight",
             "word_embeddings_layernorm.bias": "pre_decoder_layernorm.bias",
             "ln_f.weight": "final_layernorm.weight", "ln_f.bias": "final_layernorm.bias"}
    for name, w in source(heads, dim, layers, vocab, head):
        w = w.astype(dtype)
        out = "model." + fixed.get(name, name)
        if name.startswith("h."):
            out = "model.layers." + name[2:].replace("self_attention", "attention")
        axis = None
        if w.ndim == 2 and not name.endswith(("word_embeddings.weight", "lm_head.weight")):
            w = w.T
        if "query_key_value" in name:
            w = w.reshape(w.shape[:-1] + (heads, 3, dim))
            w = np.moveaxis(w, -2, -3)
            w = w.reshape(w.shape[:-2] + (heads * dim,))
            axis = -1
        elif "dense_h_to_4h" in name:
            axis = -1
        elif name.endswith(("attention.dense.weight", "dense_4h_to_h.weight")):
            axis = 0
        parts = [w] if axis is None else np.split(w, tp, axis=axis)
        for r, part in enumerate(parts):
            file = f"{out}.bin" if axis is None else f"{out}.{r}.bin"
            result[file] = hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest()
    return result


CASES = [(5, 6, 2, 37, False, 1, "float32"), (5, 6, 1, 37, True, 1, "float16"), (5, 6, 1, 37, False, 5, "float16"),
         (12, 4, 2, 53, False, 2, "float16"), (12, 4, 1, 53, True, 4, "float32")]
print(json.dumps([{"heads": c[0], "dim": c[1], "layers": c[2], "vocab": c[3], "head": c[4], "tp": c[5],
                   "dtype": c[6], "config": config(*c), "files": files(*c)} for c in CASES], indent=0))
