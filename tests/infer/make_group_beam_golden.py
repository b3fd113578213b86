"""Writes tests/infer/golden/group_beams.json: the beams in groups that transformers finds.

    python tests/infer/make_group_beam_golden.py tests/infer

Needs transformers 4.x: groups of beams left it afterwards. The file in the tree was made with 4.49.0 and torch 2.15.
"""
import json
import sys
from pathlib import Path

import torch
import transformers as hf

DATA = Path(sys.argv[1]) / "data"
NEW_TOKENS = 12
# beams, length penalty, early stopping, groups, diversity penalty
SEARCHES = ((4, 1.0, True, 2, 0.5), (6, 1.0, False, 3, 1.5), (4, 0.5, False, 4, 0.7), (6, 2.0, False, 2, 5.0))


def cases():
    for name in ("llama", "gpt2", "bloom_5_heads", "qwen2"):
        model = hf.AutoModelForCausalLM.from_pretrained(DATA / name, torch_dtype=torch.float32).eval()
        model.generation_config = hf.GenerationConfig()
        prompt = json.loads((DATA / name / "expected.json").read_text())["input_ids"]
        # An end token that the model does say now and then.
        with torch.no_grad():
            end = int(model(torch.tensor([prompt])).logits[0, -1].topk(3).indices[2])
        for width, penalty, early, groups, diversity in SEARCHES:
            out = model.generate(torch.tensor([prompt]), num_beams=width, num_beam_groups=groups,
                                 diversity_penalty=diversity, length_penalty=penalty, early_stopping=early,
                                 max_new_tokens=NEW_TOKENS, do_sample=False, num_return_sequences=width,
                                 eos_token_id=end, pad_token_id=end, return_dict_in_generate=True, output_scores=True)
            rows = [row[len(prompt):] for row in out.sequences.tolist()]
            yield {"model": name, "input_ids": prompt, "end": end, "width": width, "length_penalty": penalty,
                   "early_stopping": early, "groups": groups, "diversity_penalty": diversity,
                   "max_new_tokens": NEW_TOKENS,
                   "tokens": [row[:row.index(end) + 1] if end in row else row for row in rows],
                   "scores": out.sequences_scores.tolist()}


if not hf.__version__.startswith("4."):
    sys.exit(f"needs transformers 4.x, which still searches in groups of beams, got {hf.__version__}")
(Path(sys.argv[1]) / "golden/group_beams.json").write_text("[\n" + ",\n".join(map(json.dumps, cases())) + "\n]\n")
