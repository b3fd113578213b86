#!/usr/bin/env python3
"""Writes small GGUF files of every architecture, with the tokenizers of tests/io/data inside; two of them again in parts,
gguf/qwen2-parts and gguf/gpt2-parts, whose first part has no tensors; and gguf/quants.gguf with blocks of every quantised
type beside what the gguf package reads in them.

Needs: pip install gguf sentencepiece protobuf numpy
Example: make_gguf_golden.py tests/io/data

Every tensor is, in HuggingFace's layout, the function `numbers` of its HuggingFace name, which the tests compute as well. The
layouts are changed as llama.cpp's converter (convert_hf_to_gguf.py) documents them: rows of Llama's queries and keys,
GPT-2's Conv1D matrices, the joined queries, keys and values of BLOOM and GPT-NeoX.
"""
import json
import os
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from sentencepiece import sentencepiece_model_pb2

HIDDEN, HEADS, KV_HEADS, INNER, LAYERS, POSITIONS = 32, 4, 2, 48, 2, 64
HEAD = HIDDEN // HEADS


def numbers(name, *shape):
    count = int(np.prod(shape))
    start = sum(name.encode())
    return (((np.arange(count) * 31 + start) % 128) / 128).astype(np.float32).reshape(shape)


def for_rotary_pairs(tensor, heads):
    return tensor.reshape(heads, 2, HEAD // 2, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)


def for_joined_qkv(tensor):
    parts = tensor.reshape(HEADS, 3, HEAD, *tensor.shape[1:])
    return np.concatenate([parts[:, i].reshape(HIDDEN, *tensor.shape[1:]) for i in range(3)])


def add(writer, name, tensor, kind):
    if kind == Type.F32 or tensor.ndim == 1:
        writer.add_tensor(name, np.ascontiguousarray(tensor))
    elif kind == Type.F16:
        writer.add_tensor(name, np.ascontiguousarray(tensor.astype(np.float16)))
    else:
        writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(tensor), kind), raw_dtype=kind)


def add_byte_level(writer, path, pre):
    tokenizer = json.load(open(path, encoding="utf-8"))["tokenizer"]
    vocabulary = tokenizer["model"]["vocab"]
    added = {token["content"]: token for token in tokenizer["added_tokens"]}
    vocabulary.update({content: token["id"] for content, token in added.items()})
    tokens = sorted(vocabulary, key=vocabulary.get)
    assert [vocabulary[token] for token in tokens] == list(range(len(tokens))), path
    writer.add_tokenizer_model("gpt2")
    if pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([(3 if added[t]["special"] else 4) if t in added else 1 for t in tokens])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    return len(tokens)


def add_sentence_piece(writer, path):
    model = sentencepiece_model_pb2.ModelProto()
    with open(path, "rb") as file:
        model.ParseFromString(file.read())
    writer.add_tokenizer_model("llama")
    writer.add_token_list([piece.piece for piece in model.pieces])
    writer.add_token_scores([piece.score for piece in model.pieces])
    writer.add_token_types([piece.type for piece in model.pieces])
    writer.add_bos_token_id(model.trainer_spec.bos_id)
    writer.add_eos_token_id(model.trainer_spec.eos_id)
    return len(model.pieces)


def add_sizes(writer, rms):
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    (writer.add_layer_norm_rms_eps if rms else writer.add_layer_norm_eps)(1e-5)


def norm(writer, ours, theirs, bias):
    add(writer, ours + ".weight", numbers(theirs + ".weight", HIDDEN), Type.F32)
    if bias:
        add(writer, ours + ".bias", numbers(theirs + ".bias", HIDDEN), Type.F32)


def llama_tensors(writer, vocabulary, kind, qwen):
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(500000.0)
    add(writer, "token_embd.weight", numbers("model.embed_tokens.weight", vocabulary, HIDDEN), kind)
    norm(writer, "output_norm", "model.norm", False)
    if not qwen:
        add(writer, "output.weight", numbers("lm_head.weight", vocabulary, HIDDEN), kind)
        writer.add_rope_dimension_count(HEAD)
        add(writer, "rope_freqs.weight", np.array([1, 1.5, 4, 8], np.float32), Type.F32)
    for i in range(LAYERS):
        ours, theirs = f"blk.{i}.", f"model.layers.{i}."
        norm(writer, ours + "attn_norm", theirs + "input_layernorm", False)
        norm(writer, ours + "ffn_norm", theirs + "post_attention_layernorm", False)
        for module, name, heads in (("attn_q", "q_proj", HEADS), ("attn_k", "k_proj", KV_HEADS), ("attn_v", "v_proj", 0)):
            rows = HEAD * (heads or KV_HEADS)
            for part, shape in (("weight", (rows, HIDDEN)), ("bias", (rows,))):
                tensor = numbers(f"{theirs}self_attn.{name}.{part}", *shape)
                add(writer, f"{ours}{module}.{part}", for_rotary_pairs(tensor, heads) if heads and not qwen else tensor, kind)
        add(writer, ours + "attn_output.weight", numbers(theirs + "self_attn.o_proj.weight", HIDDEN, HIDDEN), kind)
        if not qwen:
            add(writer, ours + "attn_output.bias", numbers(theirs + "self_attn.o_proj.bias", HIDDEN), kind)
        add(writer, ours + "ffn_gate.weight", numbers(theirs + "mlp.gate_proj.weight", INNER, HIDDEN), kind)
        add(writer, ours + "ffn_up.weight", numbers(theirs + "mlp.up_proj.weight", INNER, HIDDEN), kind)
        add(writer, ours + "ffn_down.weight", numbers(theirs + "mlp.down_proj.weight", HIDDEN, INNER), kind)


def gpt2_tensors(writer, vocabulary, kind):
    add(writer, "token_embd.weight", numbers("transformer.wte.weight", vocabulary, HIDDEN), kind)
    add(writer, "position_embd.weight", numbers("transformer.wpe.weight", POSITIONS, HIDDEN), Type.F32)
    norm(writer, "output_norm", "transformer.ln_f", True)
    for i in range(LAYERS):
        ours, theirs = f"blk.{i}.", f"transformer.h.{i}."
        norm(writer, ours + "attn_norm", theirs + "ln_1", True)
        norm(writer, ours + "ffn_norm", theirs + "ln_2", True)
        for module, name, inputs, outputs in (("attn_qkv", "attn.c_attn", HIDDEN, 3 * HIDDEN),
                                              ("attn_output", "attn.c_proj", HIDDEN, HIDDEN),
                                              ("ffn_up", "mlp.c_fc", HIDDEN, INNER),
                                              ("ffn_down", "mlp.c_proj", INNER, HIDDEN)):
            add(writer, f"{ours}{module}.weight", numbers(f"{theirs}{name}.weight", inputs, outputs).T, kind)
            add(writer, f"{ours}{module}.bias", numbers(f"{theirs}{name}.bias", outputs), kind)


def joined_tensors(writer, vocabulary, kind, inner, top, blocks, attention, embeddings, last_norm):
    add(writer, "token_embd.weight", numbers(embeddings + ".weight", vocabulary, HIDDEN), kind)
    norm(writer, "output_norm", last_norm, True)
    for i in range(LAYERS):
        ours, theirs = f"blk.{i}.", f"{top}{blocks}{i}."
        norm(writer, ours + "attn_norm", theirs + "input_layernorm", True)
        norm(writer, ours + "ffn_norm", theirs + "post_attention_layernorm", True)
        for part, shape in (("weight", (3 * HIDDEN, HIDDEN)), ("bias", (3 * HIDDEN,))):
            add(writer, f"{ours}attn_qkv.{part}",
                for_joined_qkv(numbers(f"{theirs}{attention}.query_key_value.{part}", *shape)), kind)
        for module, name, outputs, inputs in (("attn_output", attention + ".dense", HIDDEN, HIDDEN),
                                              ("ffn_up", "mlp.dense_h_to_4h", inner, HIDDEN),
                                              ("ffn_down", "mlp.dense_4h_to_h", HIDDEN, inner)):
            add(writer, f"{ours}{module}.weight", numbers(f"{theirs}{name}.weight", outputs, inputs), kind)
            add(writer, f"{ours}{module}.bias", numbers(f"{theirs}{name}.bias", outputs), kind)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_qwen2(data, writer):
    add_sizes(writer, True)
    vocabulary = add_byte_level(writer, f"{data}/tokenizers/qwen2.json", "qwen2")
    writer.add_eos_token_id(2)
    llama_tensors(writer, vocabulary, Type.BF16, True)
    finish(writer)


def make_gpt2(data, writer):
    add_sizes(writer, False)
    gpt2_tensors(writer, add_byte_level(writer, f"{data}/tokenizers/gpt2.json", "gpt-2"), Type.F16)
    finish(writer)


def make_models(folder):
    data = os.path.dirname(folder)
    writer = gguf.GGUFWriter(f"{folder}/llama.gguf", "llama")
    add_sizes(writer, True)
    llama_tensors(writer, add_sentence_piece(writer, f"{data}/sp_bpe.model"), Type.F16, False)
    finish(writer)

    make_qwen2(data, gguf.GGUFWriter(f"{folder}/qwen2.gguf", "qwen2"))
    make_qwen2(data, gguf.GGUFWriter(f"{folder}/qwen2-parts/qwen2.gguf", "qwen2", split_max_tensors=10))
    make_gpt2(data, gguf.GGUFWriter(f"{folder}/gpt2.gguf", "gpt2"))
    make_gpt2(data, gguf.GGUFWriter(f"{folder}/gpt2-parts/gpt2.gguf", "gpt2", split_max_tensors=15, small_first_shard=True))

    writer = gguf.GGUFWriter(f"{folder}/bloom.gguf", "bloom")
    add_sizes(writer, False)
    vocabulary = add_byte_level(writer, f"{data}/tokenizers/bloom.json", "bloom")
    norm(writer, "token_embd_norm", "transformer.word_embeddings_layernorm", True)
    joined_tensors(writer, vocabulary, Type.F16, 4 * HIDDEN, "transformer.", "h.", "self_attention",
                   "transformer.word_embeddings", "transformer.ln_f")
    finish(writer)

    writer = gguf.GGUFWriter(f"{folder}/gptneox.gguf", "gptneox")
    add_sizes(writer, False)
    vocabulary = add_byte_level(writer, f"{data}/tokenizers/gpt2.json", "")
    writer.add_rope_dimension_count(2)
    writer.add_parallel_residual(False)
    add(writer, "output.weight", numbers("embed_out.weight", vocabulary, HIDDEN), Type.F16)
    joined_tensors(writer, vocabulary, Type.F16, INNER, "gpt_neox.", "layers.", "attention",
                   "gpt_neox.embed_in", "gpt_neox.final_layer_norm")
    finish(writer)


def make_quants(folder):
    """Random blocks; their half-precision factors are made finite."""
    random = np.random.default_rng(4)
    writer = gguf.GGUFWriter(f"{folder}/quants.gguf", "none")
    factors = {Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0], Type.Q4_K: [0, 2],
               Type.Q5_K: [0, 2], Type.Q6_K: [208]}
    for kind, places in factors.items():
        size, size_bytes = gguf.GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (3, 2, size_bytes), np.uint8)
        for place in places:
            values = random.normal(0, 0.1, (3, 2, 1)).astype(np.float16)
            blocks[:, :, place:place + 2] = values.view(np.uint8).reshape(3, 2, 2)
        rows = blocks.reshape(3, 2 * size_bytes)
        writer.add_tensor(kind.name, rows, raw_dtype=kind)
        writer.add_tensor(kind.name + ".expected", gguf.quants.dequantize(rows, kind).astype(np.float32))
    finish(writer)


if __name__ == "__main__":
    for name in ("", "/qwen2-parts", "/gpt2-parts"):
        os.makedirs(sys.argv[1] + "/gguf" + name, exist_ok=True)
    make_models(sys.argv[1] + "/gguf")
    make_quants(sys.argv[1] + "/gguf")
