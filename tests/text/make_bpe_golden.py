#!/usr/bin/env python3
"""Writes bpe_training.json: texts, and the vocabularies that HuggingFace's BpeTrainer makes of them.

Needs: pip install tokenizers
Example: make_bpe_golden.py tests/text/data
"""
import json
import os
import random
import sys
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Regex, Tokenizer, pre_tokenizers  # noqa: E402
from tokenizers.models import BPE  # noqa: E402
from tokenizers.trainers import BpeTrainer  # noqa: E402


def zipf_text(seed, letters, words, lines):
    """Words over few letters: many ways to spell one token, so that merges meet in it."""
    rng = random.Random(seed)
    vocabulary = ["".join(rng.choice(letters) for _ in range(rng.randint(1, 9))) for _ in range(words)]
    weights = [1 / (rank + 1) for rank in range(words)]
    return "\n".join(" ".join(rng.choices(vocabulary, weights, k=rng.randint(0, 12))) for _ in range(lines))


TEXTS = {
    "prose": "The gamelan plays; nobody conducts. Each player holds one part, and the parts interlock.\n"
    "It's a bronze orchestra: gongs, metallophones, drums… 12 players, 24 hands, 1 piece.\r\n\r\n"
    "  They'll play tonight -- they've played since 1923!\tDon't be late.\n" * 3,
    "odd": "naïve café Ünïcödé ǅ ß ﬁ \u00a0 \u2003x\n日本語のテキスト、と 한국어 텍스트\nعربي हिन्दी ไทย 👩‍👩‍👧 🇮🇩\n" * 4
    + "\x00\x01\x7f e\u0301 end without a newline",
    "overlap": "aaaa aaaaa aaaaaa aa a aaaaaaaaaaaaaaa abababab babababa\n" * 7,
    "zipf_abc": zipf_text(1, "abc", 200, 150),
    "zipf_ab": zipf_text(2, "ab", 300, 200),
    "zipf_many": zipf_text(3, "etaoinshrdlu'", 400, 150),
    "empty": "",
}
CASES = [
    {"vocab_size": 300, "min_frequency": 0, "special_tokens": ["<|endoftext|>"], "all_bytes": True},
    {"vocab_size": 700, "min_frequency": 2, "special_tokens": ["<unk>", "<s>", "</s>", "<pad>"], "all_bytes": True},
    {"vocab_size": 400, "min_frequency": 0, "special_tokens": ["ab", "a", "ab", "Ġthe"], "all_bytes": False},
]
# As the tokenizer.json of these models spell them.
PATTERNS = {
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "bloom": " ?[^(\\s|[.,!?…。，、।۔،])]+",
}


def pre_tokenizer(name):
    if name == "gpt2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERNS[name]), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )


def cases_of(text_name):
    for case in CASES:
        yield {**case, "pattern": "gpt2"}
    if text_name in ("prose", "odd"):
        for pattern in PATTERNS:
            yield {**CASES[1], "pattern": pattern}


def train(text, case):
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizer(case["pattern"])
    trainer = BpeTrainer(
        vocab_size=case["vocab_size"],
        min_frequency=case["min_frequency"],
        special_tokens=case["special_tokens"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if case["all_bytes"] else [],
    )
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        tokenizer.train([file.name], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return [token for token, _ in sorted(model["vocab"].items(), key=lambda item: item[1])], model["merges"]


def main():
    golden = []
    for name, text in TEXTS.items():
        for case in cases_of(name):
            tokens, merges = train(text, case)
            # Its hash maps are in another order every time; the result must not be.
            assert all(train(text, case) == (tokens, merges) for _ in range(5)), (name, case)
            golden.append({"name": name, **case, "tokens": tokens, "merges": [" ".join(m) for m in merges]})
            print(name, len(tokens), len(merges), len(tokens) - len(merges))
    with open(os.path.join(sys.argv[1], "bpe_training.json"), "w", encoding="utf-8") as file:
        json.dump({"texts": TEXTS, "cases": golden}, file, ensure_ascii=True, separators=(",", ":"))


if __name__ == "__main__":
    main()
