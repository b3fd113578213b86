"""Writes data/convert_console.txt: what `gamelan convert -i DIR/in -o DIR/out -tp 2 -dt fp16 -v` prints for a BLOOM
model of one layer, 2 heads of 2 numbers, vocabulary 3. The formats are those of huggingface_bloom_convert.py, whose
"saved at" lines are built by Python's own padding here.

    python3 tests/apps/make_convert_golden.py > tests/apps/data/convert_console.txt
"""

arguments = {"input_dir": "DIR/in", "output_dir": "DIR/out", "tensor_para_size": 2, "data_type": "fp16", "processes": 1,
             "verbose": True, "by_shard": False}
print()
print(" Arguments ".center(57, "="))
for key, value in arguments.items():
    print(f" - {key.ljust(20, '.')}: {value}")
print("=" * 57)

H, T, V = 4, 2, 3
layer = "model.layers.0."
plain = [("wte", (V, H)), ("pre_decoder_layernorm.weight", (H,)), ("pre_decoder_layernorm.bias", (H,))]
files = [("model." + name, shape, False) for name, shape in plain]
files += [(layer + name, shape, split) for name, shape, split in [
    ("input_layernorm.weight", (H,), False), ("input_layernorm.bias", (H,), False),
    ("attention.query_key_value.weight", (H, 3, H // T), True), ("attention.query_key_value.bias", (3, H // T), True),
    ("attention.dense.weight", (H // T, H), True), ("attention.dense.bias", (H,), False),
    ("post_attention_layernorm.weight", (H,), False), ("post_attention_layernorm.bias", (H,), False),
    ("mlp.dense_h_to_4h.weight", (H, 4 * H // T), True), ("mlp.dense_h_to_4h.bias", (4 * H // T,), True),
    ("mlp.dense_4h_to_h.weight", (4 * H // T, H), True), ("mlp.dense_4h_to_h.bias", (H,), False)]]
files += [("model.final_layernorm.weight", (H,), False), ("model.final_layernorm.bias", (H,), False)]
print(f"Start the checkpoint conversion: {len(files)} params")
for name, shape, split in files:
    for rank in range(T if split else 1):
        path = f"DIR/out/{T}-gpu/{name}.{rank}.bin" if split else f"DIR/out/{T}-gpu/{name}.bin"
        print(" - " + name.ljust(48, ".") + ": shape " + str(shape).ljust(16) + (" s " if split else "   ")
              + "| saved at " + path + (f" ({rank}/{T})" if split else ""))
print("Checkpoint conversion (HF >> FT) has done (elapsed time: TIME sec)")
