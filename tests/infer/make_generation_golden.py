"""Writes tests/infer/golden/generation.json: what transformers makes of logits, and the beams that it finds.

    python tests/infer/make_generation_golden.py tests/infer

The file in the tree was made with transformers 5.23 and torch 2.15. Beams in groups have left transformers since 4.x:
make_group_beam_golden.py.
"""
import json
import sys
from pathlib import Path

import torch
import transformers as hf
from transformers.generation import logits_process as lp

DATA = Path(sys.argv[1]) / "data"
END = 2


def sampling_cases():
    torch.manual_seed(3)
    cases = []
    for i in range(24):
        logits = torch.randn(1, 40) * 3
        if i % 6 == 5:
            logits = logits.round()  # equal ones
        ids = torch.randint(0, 40, (1, 9))
        ids[0, -2:] = torch.tensor([7, 8])
        o = {"temperature": [1.0, 0.7, 1.6][i % 3], "top_k": [0, 5, 17][i // 2 % 3], "top_p": [1.0, 0.9, 0.5][i // 3 % 3],
             "min_p": [0.0, 0.05][i % 2], "repetition_penalty": [1.0, 1.3, 0.8][i // 4 % 3],
             "min_new_tokens": [0, 5][i // 5 % 2], "bad_words": [[], [[8, 11], [12], [3, 8, 14], [8, 7, 9]]][i % 2]}
        steps = []
        if o["repetition_penalty"] != 1:
            steps.append(lp.RepetitionPenaltyLogitsProcessor(o["repetition_penalty"]))
        if o["bad_words"]:
            steps.append(lp.NoBadWordsLogitsProcessor(o["bad_words"], eos_token_id=torch.tensor([END])))
        if o["min_new_tokens"]:
            steps.append(lp.MinNewTokensLengthLogitsProcessor(6, o["min_new_tokens"], torch.tensor([END])))
        if o["temperature"] != 1:
            steps.append(lp.TemperatureLogitsWarper(o["temperature"]))
        if o["top_k"]:
            steps.append(lp.TopKLogitsWarper(o["top_k"]))
        if o["top_p"] < 1:
            steps.append(lp.TopPLogitsWarper(o["top_p"]))
        if o["min_p"]:
            steps.append(lp.MinPLogitsWarper(o["min_p"]))
        scores = lp.LogitsProcessorList(steps)(ids, logits.clone())
        kept = torch.isfinite(scores[0]).nonzero()[:, 0]
        cases.append({**o, "input_ids": ids[0].tolist(), "prompt_tokens": 6, "logits": logits[0].tolist(),
                      "kept": kept.tolist(), "probabilities": scores.softmax(-1)[0, kept].tolist()})
    return cases


def ends_text(tokens, ends, words):
    return tokens[-1] in ends or any(tokens[-len(word):] == word for word in words)


def beam_cases():
    cases = []
    for name in ("llama", "gpt2", "bloom_5_heads", "qwen2"):
        model = hf.AutoModelForCausalLM.from_pretrained(DATA / name, dtype=torch.float32).eval()
        model.generation_config = hf.GenerationConfig()
        prompt = json.loads((DATA / name / "expected.json").read_text())["input_ids"]
        # An end token that the model does say now and then.
        with torch.no_grad():
            end = int(model(torch.tensor([prompt])).logits[0, -1].topk(3).indices[2])
        for width, penalty, early in ((2, 1.0, False), (4, 1.0, False), (3, 0.0, True), (4, 2.0, False)):
            out = model.generate(torch.tensor([prompt]), num_beams=width, length_penalty=penalty, max_new_tokens=12,
                                 early_stopping=early, do_sample=False, num_return_sequences=width, eos_token_id=end,
                                 pad_token_id=end, return_dict_in_generate=True, output_scores=True)
            rows = [row[len(prompt):] for row in out.sequences.tolist()]
            cases.append({"model": name, "input_ids": prompt, "end": end, "width": width, "length_penalty": penalty,
                          "early_stopping": early, "max_new_tokens": 12,
                          "tokens": [row[:row.index(end) + 1] if end in row else row for row in rows],
                          "scores": out.sequences_scores.tolist()})
    return cases


class StopsAtWords(hf.StoppingCriteria):
    def __init__(self, words, prompt_tokens):
        self.words, self.prompt_tokens = words, prompt_tokens

    def __call__(self, input_ids, scores, **unused):
        rows = [row[self.prompt_tokens:].tolist() for row in input_ids]
        return torch.tensor([ends_text(row, [], self.words) for row in rows])


def cut(tokens, ends, words):
    """The text without what pads, whether a stop word ends it included."""
    for length in range(1, len(tokens) + 1):
        if tokens[length - 1] in ends:
            return tokens[:length], "end"
        stops = [len(word) for word in words if tokens[:length][-len(word):] == word]
        if stops:
            return tokens[:length - max(stops)], "stop"
    return tokens, "length"


def stop_as_4x(model):
    """A search goes on while the best candidate of a step, also one that ends a beam, could still improve on what is
    finished: transformers 4.x. 5.x asks the best beam that goes on, and so may stop earlier."""
    best = {}
    running, heuristic = model._get_running_beams_for_next_iteration, model._check_early_stop_heuristic

    def remember(topk_log_probs, **named):
        best["scores"] = topk_log_probs
        return running(topk_log_probs=topk_log_probs, **named)

    def check(running_beam_scores, **named):
        return heuristic(running_beam_scores=best["scores"], **named)

    model._get_running_beams_for_next_iteration, model._check_early_stop_heuristic = remember, check


def beam_ending_cases():
    """Several end tokens, stop words, and the log-probabilities of the tokens of each beam."""
    cases = []
    for name in ("llama", "gpt2", "bloom_5_heads", "qwen2"):
        model = hf.AutoModelForCausalLM.from_pretrained(DATA / name, dtype=torch.float32).eval()
        model.generation_config = hf.GenerationConfig()
        stop_as_4x(model)
        prompt = json.loads((DATA / name / "expected.json").read_text())["input_ids"]

        def generate(width, penalty, early, ends, words, count):
            return model.generate(torch.tensor([prompt]), num_beams=width, length_penalty=penalty, max_new_tokens=12,
                                  early_stopping=early, do_sample=False, num_return_sequences=count, eos_token_id=ends or None,
                                  pad_token_id=END, return_dict_in_generate=True, output_scores=True,
                                  stopping_criteria=[StopsAtWords(words, len(prompt))] if words else None)

        # Words and end tokens that the best beams do say.
        said = [row[len(prompt):] for row in generate(4, 1.0, False, [], [], 4).sequences.tolist()]
        words = [said[0][2:4], said[1][4:7], [said[2][8]]]
        for width, penalty, early, ends, stops in ((2, 1.0, False, [], words), (4, 1.0, False, [said[0][5], said[1][7]], []),
                                                   (4, 0.5, False, [said[0][6]], words), (3, 2.0, True, [], words[:2]),
                                                   (5, 1.0, False, [said[3][9], said[0][8]], words[1:]), (4, 1.0, False, [], [])):
            out = generate(width, penalty, early, ends, stops, width)
            own = model.compute_transition_scores(out.sequences.clamp(min=0), out.scores, out.beam_indices)
            texts = []
            for row, score, values in zip(out.sequences.tolist(), out.sequences_scores.tolist(), own.tolist()):
                tokens, finish = cut(row[len(prompt):], ends, stops)
                texts.append({"tokens": tokens, "finish": finish, "score": score, "log_probabilities": values[:len(tokens)]})
            cases.append({"model": name, "input_ids": prompt, "end_tokens": ends, "stop_words": stops, "width": width,
                          "length_penalty": penalty, "early_stopping": early, "max_new_tokens": 12, "texts": texts})
    return cases


out = {"sampling": sampling_cases(), "beams": beam_cases(), "beam_endings": beam_ending_cases()}
(Path(sys.argv[1]) / "golden/generation.json").write_text(
    "{" + ",\n".join(f'"{k}": [\n' + ",\n".join(json.dumps(c) for c in v) + "\n]" for k, v in out.items()) + "}\n")
